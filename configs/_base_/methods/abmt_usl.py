# ABMT without a source: each branch learns from the teacher's other branch; a new radius every epoch.
_base_ = "./mean_teacher.py"

model = dict(
    type="ABMT",
    cross=True,
    ce_weight=0.5,
    soft_ce_weight=0.5,
    soft_triplet_weight=1.0,
)
default_hooks = dict(cluster=dict(clusterer=dict(rho=2e-3)))
