_base_ = "./source_mbv2_syntha2synthb.py"

target = "synthc"
test = ["synthc", "syntha"]
