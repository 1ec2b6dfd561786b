_base_ = "./spcl_r50_market.py"

target = "dukemtmc"
