# MMT with IBN-ResNet-50-a, DBSCAN.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/r50_ibn_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
