_base_ = "./ise_mbv2_synthb.py"

target = "syntha"
