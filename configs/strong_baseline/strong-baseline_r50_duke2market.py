# The UDA strong baseline from DukeMTMC-reID to Market-1501: GeM, 200 epochs of 300 iterations.
_base_ = [
    "../_base_/methods/strong_baseline.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
encoder = dict(pool=dict(type="GeM"), norm=dict(type="DomainBN", keep_frozen=False))
iters_per_epoch = 300
train_cfg = dict(max_epochs=200)
