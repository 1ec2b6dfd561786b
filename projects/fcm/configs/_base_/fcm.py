# FCM: Cluster-Contrast that clusters features averaged with those nearby, from a baseline trained without.
_base_ = [
    "../../../../configs/_base_/default_runtime.py",
    "../../../../configs/_base_/datasets/reid.py",
]
custom_imports = dict(imports=["projects.fcm.fcm"])

model = dict(
    type="FCM",
    head=dict(
        type="ClusterMemoryHead",
        temperature=0.05,
        memory=dict(type="ClusterMemory", update="momentum", momentum=0.1, init="mean"),
    ),
    num_neighbors=16,
    temperature=1.0,
    own_weight=1.0,
    layers=1,
)
clusterer = dict(type="JaccardDBSCAN", eps=0.6, min_samples=4, k1=30, k2=6)
stage1 = "work_dirs/fcm-baseline_{encoder}_{target}"
