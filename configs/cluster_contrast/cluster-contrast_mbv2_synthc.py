_base_ = "./cluster-contrast_mbv2_synthb.py"

target = "synthc"
