# ABMT with IBN-ResNet-50-a.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/r50_ibn_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
