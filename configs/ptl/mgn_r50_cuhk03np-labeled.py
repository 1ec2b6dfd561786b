_base_ = "./mgn_r50_market.py"

source = "cuhk03np-labeled"
test = "cuhk03np-labeled"
iters_per_epoch = 191  # 767 people, four at a time
