# FCM: Cluster-Contrast that clusters features averaged with those nearby, from a baseline trained without.
_base_ = ["../../../../configs/_base_/methods/cluster_contrast.py"]
custom_imports = dict(imports=["projects.fcm.fcm"])

model = dict(type="FCM", num_neighbors=16, temperature=1.0, own_weight=1.0, layers=1)
stage1 = "work_dirs/fcm-baseline_{encoder}_{target}"
