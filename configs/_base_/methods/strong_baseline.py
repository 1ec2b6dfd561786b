# The UDA strong baseline: hard labels of a mean teacher, new ones every six epochs, a batch normalisation per domain.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

stage1 = "work_dirs/source-gem_{encoder}_{source}2{target}"
model = dict(
    type="StrongBaseline",
    teacher=dict(type="EMATeacher", alpha=0.999, warmup=True, buffers="own"),
    ce_weight=1.0,
    triplet_weight=1.0,
    label_smoothing=0.0,
    head=dict(type="ClassifierHead", init="uniform"),
    data_preprocessor=dict(type="ReIDDataPreprocessor", erase_value=(0.596, 0.558, 0.497)),
)
clusterer = dict(type="JaccardDBSCAN", eps=0.6, min_samples=4, k1=30, k2=6, variant="faiss")
relabel = dict(interval=6)
