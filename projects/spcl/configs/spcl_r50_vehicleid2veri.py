_base_ = "./spcl_r50_duke2market.py"

source = "vehicleid"
target = "veri776"
test = ["veri776"]
iters_per_epoch = 800
