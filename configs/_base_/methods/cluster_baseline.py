# The clustering baseline of MMT: one network, labels from its own features, hard losses.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

model = dict(
    type="ClusterBaseline",
    ce_weight=1.0,
    triplet_weight=1.0,
    label_smoothing=0.1,
    head=dict(type="ClassifierHead"),
)
default_hooks = dict(
    cluster=dict(
        type="ClusterHook",
        max_outlier_ratio=1.0,  # as released: the first epochs train on the few clusters there are
        clusterer=dict(
            type="JaccardDBSCAN",
            eps="rho",
            rho=1.6e-3,
            near_zero="count",
            freeze_eps=True,
            min_samples=4,
            k1=20,
            k2=6,
            variant="full",
        ),
    ),
    optimizer_reset=dict(type="OptimizerResetHook"),  # a new Adam for the new classifier
)
