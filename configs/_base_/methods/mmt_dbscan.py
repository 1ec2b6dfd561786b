# MMT with DBSCAN: two students, two teachers, two views; the radius of the first epoch stays.
_base_ = "./mean_teacher.py"

model = dict(type="MMT", num_students=2, soft_ce_weight=0.5, soft_triplet_weight=0.8)
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
default_hooks = dict(
    cluster=dict(clusterer=dict(rho=1.6e-3, freeze_eps=True)),
    every_teacher=dict(type="EveryTeacherHook"),
)
