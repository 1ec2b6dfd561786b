# CAP as released: 32 = 8 x 4 images on one GPU, an epoch is one pass, ten epochs of warm-up, a tenth after 20 and 40.
_base_ = ["./_base_/cap.py", "../../../configs/_base_/encoders/r50_uda.py"]

target = "market1501"
reference_gpus = 1

global_batch_size = 32
num_instances = 4
iters_per_epoch = None

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3.5e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=32, enable=False)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=11),
    dict(type="MultiStepLR", milestones=[20, 40], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=10)
