# FAT: labels as annotated, one centroid per identity before every epoch, cross-entropy and a point-to-set hinge.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

model = dict(
    type="FAT",
    terms="XE-tri-mg",
    negatives="batchNeg",
    head=dict(
        type="FATHead",
        centroids=dict(type="ClassCentroids", kind="mean", unit_kind="unit_mean_unit"),
        soft_labels=None,  # the run of a teacher, for label distillation
    ),
    test_cfg=dict(flip=True, feature="pooled"),
)
default_hooks = dict(
    cluster=dict(type="ClusterHook", clusterer=dict(type="GroundTruthLabels")),
)
val_evaluator = dict(ap="trapezoid")
