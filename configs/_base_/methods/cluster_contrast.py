# Cluster-Contrast: labels from Jaccard + DBSCAN before every epoch, InfoNCE against cluster centroids.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

model = dict(
    type="ClusterContrast",
    head=dict(
        type="ClusterMemoryHead",
        temperature=0.05,
        memory=dict(type="ClusterMemory", update="momentum", momentum=0.1, init="mean"),
    ),
)
clusterer = dict(type="JaccardDBSCAN", eps=0.6, min_samples=4, k1=30, k2=6)
