# Your own video, with cameras, times and tracklets: Cluster-Contrast with ResNet-50.
_base_ = [
    "../_base_/methods/cluster_contrast.py",
    "../_base_/encoders/r50_gem.py",
    "../_base_/schedules/usl_50e.py",
]

target = dict(_delete_=True, type="CSVReIDDataset", data_root="crops", ann_file="crops.csv")
clusterer = dict(_delete_=True, type="ConstrainedLinkage")
# What one camera sees at the same time is two subjects; disjoint_cameras=True says so of all cameras together.
evidence = dict(camera="auto", tracklets=True, time=True)
# Two people are enough, and a batch may be filled by going over them again.
relabel = dict(min_clusters=2, stability=True)
train_dataloader = dict(batch_sampler=dict(drop_last=False))
