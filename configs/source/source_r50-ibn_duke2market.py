# Stage 1 with IBN-ResNet-50-a.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/r50_ibn_uda.py",
    "../_base_/schedules/source_80e.py",
]

source = "dukemtmc"
target = "market1501"
