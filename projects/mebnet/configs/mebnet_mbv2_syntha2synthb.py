# MEB-Net on rendered people: three networks of one architecture, from three runs of source pre-training.
_base_ = [
    "../../../configs/_base_/methods/mmt.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/uda_small.py",
]
custom_imports = dict(imports=["projects.mebnet.mebnet"])

source = "syntha"
target = "synthb"
stage1 = [f"work_dirs/source_{{encoder}}_{{source}}2{{target}}-seed{seed}" for seed in (1, 2, 3)]
model = dict(type="MEBNet", num_students=3, renormalize=False)
train_pipeline = _base_.train_pipeline
train_pipeline[2].num_views = 3
clusterer = dict(_delete_=True, type="KMeans", num_clusters=150, max_iterations=100)
