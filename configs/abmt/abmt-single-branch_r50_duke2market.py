# An ordinary mean teacher: branch g alone learns from its own average.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
stage1 = "work_dirs/source_{encoder}_{source}2{target}"
