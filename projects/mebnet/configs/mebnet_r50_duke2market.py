# MEB-Net, MMT with three networks, three views and authorities, from DukeMTMC-reID to Market-1501: three ResNet-50 of
# three seeds, 800 iterations per epoch; the paper's experts are a DenseNet-121, a ResNet-50 and an Inception-v3.
_base_ = [
    "../../../configs/_base_/methods/mmt.py",
    "../../../configs/_base_/encoders/r50_uda.py",
    "../../../configs/_base_/schedules/uda_40e.py",
]
custom_imports = dict(imports=["projects.mebnet.mebnet"])

source = "dukemtmc"
target = "market1501"
stage1 = [
    f"work_dirs/source-meb_{{encoder}}_{{source}}2{{target}}-seed{seed}" for seed in (1, 2, 3)
]
iters_per_epoch = 800
model = dict(type="MEBNet", num_students=3, renormalize=False)
train_pipeline = _base_.train_pipeline
train_pipeline[2].num_views = 3
clusterer = dict(_delete_=True, type="KMeans", num_clusters=500, max_iterations=100)
