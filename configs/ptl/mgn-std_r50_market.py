# Plain MGN learns from MGN with cells.
_base_ = "./mgn_r50_market.py"

model = dict(
    type="STD",
    teacher=dict(
        config="configs/ptl/mgn-ptl_r50_market.py", checkpoint="work_dirs/mgn-ptl_r50_market"
    ),
)
