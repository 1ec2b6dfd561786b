# MEB-Net on rendered people: three networks of one architecture, from three runs of source pre-training.
_base_ = [
    "./_base_/mebnet.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/uda_small.py",
]

target = "synthb"
stage1 = [f"work_dirs/source_mbv2_syntha2synthb-seed{seed}" for seed in (1, 2, 3)]
default_hooks = dict(cluster=dict(clusterer=dict(num_clusters=150)))
