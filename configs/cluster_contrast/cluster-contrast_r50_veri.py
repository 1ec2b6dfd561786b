_base_ = "./cluster-contrast_r50_market.py"

target = "veri776"
iters_per_epoch = 400
