# The clustering baseline: one network, hard labels from its own features.
_base_ = [
    "../_base_/methods/cluster_baseline.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
