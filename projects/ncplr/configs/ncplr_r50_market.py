# NCPLR as released: ResNet-50 with GeM, 256 = 16 x 16 images, 50 x 200 iterations.
_base_ = [
    "./_base_/ncplr.py",
    "../../../configs/_base_/encoders/r50_gem.py",
    "../../../configs/_base_/schedules/usl_50e.py",
]

target = "market1501"
iters_per_epoch = 200
