# What all mean teachers share: how they move, and what is noted about them.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

model = dict(
    teacher=dict(type="EMATeacher", alpha=0.999, warmup=True, buffers="own"),
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
            near_zero="count",
            min_samples=4,
            k1=20,
            k2=6,
            variant="full",
        ),
    ),
    optimizer_reset=dict(type="OptimizerResetHook"),  # a new Adam for the new classifier
    ema=dict(type="EMAHook"),
    diversity=dict(type="DiversityHook"),
)
