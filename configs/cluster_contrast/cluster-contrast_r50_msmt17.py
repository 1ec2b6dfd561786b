_base_ = "./cluster-contrast_r50_market.py"

target = "msmt17"
iters_per_epoch = 400
