# Your own several cameras, a folder for each: Cluster-Contrast with MobileNetV2, trains on a CPU.
_base_ = [
    "../_base_/methods/cluster_contrast.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/usl_small.py",
]

target = dict(_delete_=True, type="FolderReIDDataset", data_root="crops", folders="camera")
input_size = (128, 64)
stage1 = "rendered://mobilenet_v2"  # None: from ImageNet (docs/start.md says where it wins)
clusterer = dict(k1="auto", eps="auto", min_samples=2)
evidence = dict(camera="auto")
# Two people are enough, and a batch may be filled by going over them again.
relabel = dict(min_clusters=2, stability=True)
train_dataloader = dict(batch_sampler=dict(drop_last=False))
