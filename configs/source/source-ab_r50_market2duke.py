# Stage 1 of ABMT: both branches, their losses averaged.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/source_80e.py",
]

source = "market1501"
target = "dukemtmc"
