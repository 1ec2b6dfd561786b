# Cluster-Contrast as TransReID-SSL and PASS train it: a centroid moves to the least similar image, with momentum 0.2.
_base_ = [
    "../../../../configs/_base_/default_runtime.py",
    "../../../../configs/_base_/datasets/reid.py",
]
custom_imports = dict(imports=["projects.transreid_ssl.transreid_ssl"])

model = dict(
    type="ClusterContrast",
    head=dict(
        type="ClusterMemoryHead",
        temperature=0.05,
        memory=dict(type="ClusterMemory", update="hard", momentum=0.2, init="mean"),
    ),
)
clusterer = dict(type="JaccardDBSCAN", eps=0.6, min_samples=4, k1=30, k2=6)
