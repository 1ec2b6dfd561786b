# MEB-Net: MMT with three networks, three views and authorities.
_base_ = "../../../../configs/_base_/methods/mmt_kmeans.py"
custom_imports = dict(imports=["projects.mebnet.mebnet"])

model = dict(type="MEBNet", num_students=3)
train_pipeline = _base_.train_pipeline
train_pipeline[2].num_views = 3
default_hooks = dict(cluster=dict(clusterer=dict(num_clusters=500, max_iterations=100)))
