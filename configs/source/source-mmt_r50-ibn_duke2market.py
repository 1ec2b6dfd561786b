# Stage 1 of MMT with IBN-ResNet-50-a.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/r50_ibn_uda.py",
    "../_base_/schedules/source_mmt_80e.py",
]

source = "dukemtmc"
target = "market1501"
