# The network without cells learns from the one with cells.
_base_ = "./backbone_mbv2_digits.py"

model = dict(
    type="STDClassifier",
    teacher=dict(config="configs/ptl/ptl_mbv2_digits.py", checkpoint="work_dirs/ptl_mbv2_digits"),
)
