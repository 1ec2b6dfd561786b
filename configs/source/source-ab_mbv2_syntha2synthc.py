_base_ = "./source-ab_mbv2_syntha2synthb.py"

target = "synthc"
test = ["synthc", "syntha"]
