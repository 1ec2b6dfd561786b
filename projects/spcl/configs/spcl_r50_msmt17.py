_base_ = "./spcl_r50_market.py"

target = "msmt17"
iters_per_epoch = 800
