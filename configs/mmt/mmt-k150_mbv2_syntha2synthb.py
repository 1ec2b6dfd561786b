# MMT on rendered people with as many clusters as there are people.
_base_ = [
    "../_base_/methods/mmt_kmeans.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/uda_small.py",
]

target = "synthb"
stage1 = ["work_dirs/source_mbv2_syntha2synthb-seed1", "work_dirs/source_mbv2_syntha2synthb-seed2"]
default_hooks = dict(cluster=dict(clusterer=dict(num_clusters=150)))
