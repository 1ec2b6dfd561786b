# CAP on rendered pedestrians of six cameras, trains on a CPU in minutes.
_base_ = [
    "./_base_/cap.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/usl_small.py",
]

target = "synthb"
reference_gpus = 1
global_batch_size = 32
auto_scale_lr = dict(base_batch_size=32)
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
default_hooks = dict(inter_camera=dict(start=2))
