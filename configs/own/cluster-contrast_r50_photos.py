# Your own photos: Cluster-Contrast with ResNet-50.
_base_ = [
    "../_base_/methods/cluster_contrast.py",
    "../_base_/encoders/r50_gem.py",
    "../_base_/schedules/usl_50e.py",
]

target = dict(_delete_=True, type="FolderReIDDataset", data_root="crops", folders="none")
clusterer = dict(k1="auto", eps="auto", min_samples=2)
# Two people are enough, and a batch may be filled by going over them again.
relabel = dict(min_clusters=2, stability=True)
train_dataloader = dict(batch_sampler=dict(drop_last=False))
