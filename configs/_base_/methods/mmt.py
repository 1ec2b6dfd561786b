# MMT: two students, two teachers, two views; labels from DBSCAN, of which the radius of the first epoch stays.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

train = ["target"]
stage1 = [
    "work_dirs/source-mmt_{encoder}_{source}2{target}-seed1",
    "work_dirs/source-mmt_{encoder}_{source}2{target}-seed2",
]
model = dict(
    type="MMT",
    num_students=2,
    soft_ce_weight=0.5,
    soft_triplet_weight=0.8,
    teacher=dict(type="EMATeacher", alpha=0.999, warmup=True, buffers="own"),
    label_smoothing=0.1,
    head=dict(type="ClassifierHead"),
)
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic", backend="pillow"),
    dict(
        type="MultiView",
        num_views=2,
        transforms=[
            dict(type="RandomHorizontalFlip", prob=0.5),
            dict(type="PadRandomCrop", padding=10),
            dict(type="RandomErasingBox", prob=0.5),
        ],
    ),
    dict(type="PackReIDInputs"),
]
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
