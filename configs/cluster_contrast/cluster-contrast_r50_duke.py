_base_ = "./cluster-contrast_r50_market.py"

target = "dukemtmc"
