# MEB-Net from DukeMTMC-reID to Market-1501 with three ResNet-50 of three seeds, 800 iterations per epoch; the paper's
# experts are a DenseNet-121, a ResNet-50 and an Inception-v3.
_base_ = [
    "./_base_/mebnet.py",
    "../../../configs/_base_/encoders/r50_uda.py",
    "../../../configs/_base_/schedules/uda_40e.py",
]

target = "market1501"
stage1 = [f"work_dirs/source-meb_r50_duke2market-seed{seed}" for seed in (1, 2, 3)]
iters_per_epoch = 800
