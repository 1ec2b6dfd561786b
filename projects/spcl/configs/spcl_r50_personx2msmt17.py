_base_ = "./spcl_r50_duke2market.py"

source = "personx"
target = "msmt17"
test = ["msmt17"]
iters_per_epoch = 800
