# The paper's baseline: two networks trained apart on hard labels, clustered on the mean of their features.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(
    soft_ce_weight=0.0,
    soft_triplet_weight=0.0,
    teacher=dict(alpha=0.0),
    test_cfg=dict(network="student"),
)
