# ISE: Cluster-Contrast with support samples and the label-preserving loss; the values for Market-1501.
_base_ = "./cluster_contrast.py"

model = dict(
    type="ISE",
    head=dict(memory=dict(update="hard", momentum=0.2)),
    num_neighbors=1,
    lp_weight=0.1,
    lp_loss=dict(type="LabelPreservingLoss", temperature=0.6),
)
default_hooks = dict(
    cluster=dict(clusterer=dict(eps=0.4)),
    progressive=dict(
        type="ProgressiveLambdaHook", attribute="support_scale", base=1.0, schedule="log"
    ),
)
