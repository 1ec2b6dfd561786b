# ISE: Cluster-Contrast with support samples and the label-preserving loss; the values for Market-1501.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

model = dict(
    type="ISE",
    head=dict(
        type="ClusterMemoryHead",
        temperature=0.05,
        memory=dict(type="ClusterMemory", update="hard", momentum=0.2, init="mean"),
    ),
    num_neighbors=1,
    lp_weight=0.1,
    lp_loss=dict(type="LabelPreservingLoss", temperature=0.6),
)
clusterer = dict(type="JaccardDBSCAN", eps=0.4, min_samples=4, k1=30, k2=6)
