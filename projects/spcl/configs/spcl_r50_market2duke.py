_base_ = "./spcl_r50_duke2market.py"

source = "market1501"
target = "dukemtmc"
test = ["dukemtmc"]
