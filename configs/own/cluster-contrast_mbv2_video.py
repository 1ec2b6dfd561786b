# Your own video, with cameras, times and tracklets: Cluster-Contrast with MobileNetV2, trains on a CPU.
_base_ = [
    "../_base_/methods/cluster_contrast.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/usl_small.py",
]

target = dict(_delete_=True, type="CSVReIDDataset", data_root="crops", ann_file="crops.csv")
input_size = (128, 64)
stage1 = "rendered://mobilenet_v2"  # None: from ImageNet (docs/start.md says where it wins)
clusterer = dict(_delete_=True, type="ConstrainedLinkage")
# What one camera sees at the same time is two subjects; disjoint_cameras=True says so of all cameras together.
evidence = dict(camera="auto", tracklets=True, time=True)
# Two people are enough, and a batch may be filled by going over them again.
relabel = dict(min_clusters=2, stability=True)
train_dataloader = dict(batch_sampler=dict(drop_last=False))
