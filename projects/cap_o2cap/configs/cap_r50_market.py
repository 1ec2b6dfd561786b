# CAP as released: 32 = 8 x 4 images on one GPU, an epoch is one pass, ten epochs of warm-up, a tenth after 20 and 40.
_base_ = [
    "./_base_/cap_o2cap.py",
    "../../../configs/_base_/encoders/r50_uda.py",
    "../../../configs/_base_/schedules/proxies_50e.py",
]

target = "market1501"
reference_gpus = 1
iters_per_epoch = None
model = dict(type="CAP", intra_weight=1.0, offline_weight=0.5)
default_hooks = dict(inter_camera=dict(start=5))
