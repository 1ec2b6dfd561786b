_base_ = "./spcl_r50_market.py"

target = "veri776"
iters_per_epoch = 800
