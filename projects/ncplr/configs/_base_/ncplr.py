# NCPLR: Cluster-Contrast, and a classifier that learns from the neighbours of each image within a Jaccard distance.
_base_ = [
    "../../../../configs/_base_/default_runtime.py",
    "../../../../configs/_base_/datasets/reid.py",
]
custom_imports = dict(imports=["projects.ncplr.ncplr"])

model = dict(
    type="NCPLR",
    head=dict(
        type="ClusterMemoryHead",
        temperature=0.05,
        memory=dict(type="ClusterMemory", update="momentum", momentum=0.1, init="mean"),
    ),
    max_distance=0.2,
    weigh="farther",
    temperature=1.0,
    alpha=0.1,
    refined_weight=1.0,
)
clusterer = dict(type="JaccardDBSCAN", eps=0.5, min_samples=4, k1=30, k2=6)
