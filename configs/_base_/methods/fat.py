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
# Random crops of 384 x 128 out of 432 x 144.
input_size = (384, 128)
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(
        type="Resize", scale=(144, 432), interpolation="bicubic", backend="pillow"
    ),  # (width, height)
    dict(type="RandomCrop", crop_size=(384, 128)),
    dict(type="RandomHorizontalFlip", prob=0.5),
    dict(type="PackReIDInputs"),
]
clusterer = dict(type="GroundTruthLabels")
val_evaluator = dict(ap="trapezoid")
