# CAP and O2CAP: a memory row for each camera of a cluster; Jaccard + DBSCAN with a small radius before every epoch.
_base_ = [
    "../../../../configs/_base_/default_runtime.py",
    "../../../../configs/_base_/datasets/reid.py",
]
custom_imports = dict(imports=["projects.cap_o2cap.cap_o2cap"])

model = dict(
    head=dict(
        type="ClusterMemoryHead", temperature=0.07, memory=dict(type="ProxyMemory", momentum=0.2)
    ),
    num_negatives=50,
)
clusterer = dict(type="JaccardDBSCAN", eps=0.5, min_samples=4, k1=20, k2=6)
train_dataloader = dict(batch_sampler=dict(type="ProxyBalancedSampler"))
