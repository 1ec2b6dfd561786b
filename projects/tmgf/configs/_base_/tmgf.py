# TMGF: camera proxies of a global feature and of stripes; Jaccard + DBSCAN with a small radius before every epoch.
_base_ = [
    "../../../../configs/_base_/default_runtime.py",
    "../../../../configs/_base_/datasets/reid.py",
]
custom_imports = dict(imports=["projects.tmgf.tmgf"])

model = dict(
    type="TMGF",
    head=dict(
        type="ClusterMemoryHead", temperature=0.07, memory=dict(type="ProxyMemory", momentum=0.2)
    ),
    part_weight=0.1,
    num_negatives=50,
    num_positives=3,
    image_weight=0.15,
)
clusterer = dict(type="JaccardDBSCAN", eps=0.5, min_samples=4, k1=20, k2=6)
train_dataloader = dict(batch_sampler=dict(type="ProxyBalancedSampler"))
