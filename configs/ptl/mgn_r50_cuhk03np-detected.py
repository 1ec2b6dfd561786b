_base_ = "./mgn_r50_market.py"

source = "cuhk03np-detected"
test = "cuhk03np-detected"
iters_per_epoch = 191  # 767 people, four at a time
