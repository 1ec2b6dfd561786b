_base_ = "./mgn_r50_market.py"

source = "dukemtmc"
test = "dukemtmc"
iters_per_epoch = 175  # 702 people, four at a time
