# For rendered people on GPUs: 60 epochs of 400 iterations, 256 = 64 x 4 images.
global_batch_size = 256
num_instances = 4
iters_per_epoch = 400

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=7e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=256, enable=False)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=1, end=60, T_max=59, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=60)
