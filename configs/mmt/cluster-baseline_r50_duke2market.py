# The clustering baseline: one network, hard labels from its own features.
_base_ = [
    "../_base_/methods/cluster_baseline.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

target = "market1501"
stage1 = "work_dirs/source-mmt_r50_duke2market"
