# The network without cells learns from the one with cells.
_base_ = "./backbone_r50_market.py"

model = dict(
    type="STD",
    teacher=dict(config="configs/ptl/ptl_r50_market.py", checkpoint="work_dirs/ptl_r50_market"),
)
