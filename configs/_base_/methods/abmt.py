# ABMT: each branch learns from the teacher's other branch; a new radius every epoch. Images of the source enter the
# distance that is clustered and are not trained on.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

stage1 = "work_dirs/source-ab_{encoder}_{source}2{target}"
model = dict(
    type="ABMT",
    cross=True,
    teacher=dict(type="EMATeacher", alpha=0.999, warmup=True, buffers="own"),
    ce_weight=0.5,
    soft_ce_weight=0.5,
    soft_triplet_weight=1.0,
    label_smoothing=0.1,
    head=dict(type="ClassifierHead"),
)
train_dataloader = dict(batch_sampler=dict(domains=("target",)))
clusterer = dict(
    type="JaccardDBSCAN",
    eps="rho",
    rho=2e-3,
    near_zero="count",
    min_samples=4,
    k1=20,
    k2=6,
    variant="full",
    source_weight=0.1,
)
