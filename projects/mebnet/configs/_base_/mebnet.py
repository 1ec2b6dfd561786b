# MEB-Net: MMT with three networks, three views and authorities.
_base_ = "../../../../configs/_base_/methods/mmt_kmeans.py"
custom_imports = dict(imports=["projects.mebnet.mebnet"])

model = dict(type="MEBNet", num_students=3, soft_ce_weight=0.5, soft_triplet_weight=0.8)
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic"),
    dict(
        type="MultiView",
        num_views=3,
        transforms=[
            dict(type="RandomHorizontalFlip", prob=0.5),
            dict(type="PadRandomCrop", padding=10),
            dict(type="RandomErasingBox", prob=0.5),
        ],
    ),
    dict(type="PackReIDInputs"),
]
default_hooks = dict(
    cluster=dict(type="ExpertsHook", clusterer=dict(num_clusters=500, max_iterations=100))
)
