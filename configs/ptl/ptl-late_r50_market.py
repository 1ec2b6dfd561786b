# Two cells instead of six: beside the last two stages.
_base_ = "./ptl_r50_market.py"

encoder = dict(
    backbone=dict(
        rungs=[
            dict(tap="layer2", fuse=256),
            dict(tap="layer3", cells=[(512, 2)], fuse=512),
            dict(tap="layer4", cells=[(128, 1)], fuse=512),
        ]
    )
)
