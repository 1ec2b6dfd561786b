# Two branches without a teacher: hard losses, features from the network itself.
_base_ = [
    "../_base_/methods/cluster_baseline.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
stage1 = "work_dirs/source-ab_{encoder}_{source}2{target}"
clusterer = dict(rho=2e-3, freeze_eps=False)
