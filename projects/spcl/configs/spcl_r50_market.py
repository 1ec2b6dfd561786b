# SpCL on Market-1501 without any label: 64 = 16 x 4 images, batch-norm statistics over 16 of them (four GPUs).
_base_ = [
    "./_base_/spcl.py",
    "../../../configs/_base_/encoders/r50.py",
    "../../../configs/_base_/schedules/usl_50e.py",
]

target = "market1501"
global_batch_size = 64
num_instances = 4
auto_scale_lr = dict(base_batch_size=64)
