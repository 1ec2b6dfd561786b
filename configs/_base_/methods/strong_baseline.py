# The UDA strong baseline: hard labels of a mean teacher, new ones every six epochs, a batch normalisation per domain.
_base_ = "./mean_teacher.py"

model = dict(
    type="StrongBaseline",
    ce_weight=1.0,
    triplet_weight=1.0,
    label_smoothing=0.0,
    head=dict(init="uniform"),
    data_preprocessor=dict(type="ReIDDataPreprocessor", erase_value=(0.596, 0.558, 0.497)),
)
default_hooks = dict(
    cluster=dict(
        interval=6,
        clusterer=dict(
            _delete_=True,
            type="JaccardDBSCAN",
            eps=0.6,
            min_samples=4,
            k1=30,
            k2=6,
            variant="faiss",
        ),
    ),
)
