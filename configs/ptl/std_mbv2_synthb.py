# The network without cells learns from the one with cells.
_base_ = "./backbone_mbv2_synthb.py"

model = dict(
    type="STD",
    teacher=dict(config="configs/ptl/ptl_mbv2_synthb.py", checkpoint="work_dirs/ptl_mbv2_synthb"),
)
