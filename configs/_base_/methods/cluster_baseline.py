# The clustering baseline of MMT: one network, labels from its own features, hard losses.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

train = ["target"]
stage1 = "work_dirs/source-mmt_{encoder}_{source}2{target}"
model = dict(
    type="ClusterBaseline",
    ce_weight=1.0,
    triplet_weight=1.0,
    label_smoothing=0.1,
    head=dict(type="ClassifierHead"),
)
clusterer = dict(
    type="JaccardDBSCAN",
    eps="rho",
    rho=1.6e-3,
    near_zero="count",
    freeze_eps=True,
    min_samples=4,
    k1=20,
    k2=6,
    variant="full",
)
