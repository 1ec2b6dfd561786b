# An ordinary mean teacher: branch g alone learns from its own average.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/uda_small.py",
]

source = "syntha"
target = "synthb"
stage1 = "work_dirs/source_{encoder}_{source}2{target}-seed1"
# Ten images per person among fifteen hundred: a larger share of pairs than on Market-1501, and fewer neighbours.
clusterer = dict(rho=5e-3, near_zero="drop", k1=10, k2=4)
