# Your own several cameras, a folder for each, with what did best in docs/which_method.md: O2CAP's proxies for each
# camera of a cluster, and cameras in distances and features. Trains on a CPU.
_base_ = [
    "../../projects/cap_o2cap/configs/_base_/cap_o2cap.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/proxies_small.py",
]

reference_gpus = 1
target = dict(_delete_=True, type="FolderReIDDataset", data_root="crops", folders="camera")
input_size = (128, 64)
stage1 = "rendered://mobilenet_v2"  # None: from ImageNet (docs/start.md says where it wins)
model = dict(type="O2CAP")
clusterer = dict(k1="auto", eps="auto", min_samples=2)
evidence = dict(camera="both")
# Two people are enough, and a batch may be filled by going over them again.
relabel = dict(min_clusters=2, stability=True)
train_dataloader = dict(batch_sampler=dict(drop_last=False))
