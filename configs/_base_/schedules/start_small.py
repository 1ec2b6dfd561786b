# For rendered people on two CPU cores: 1,200 iterations of 64 = 16 x 4 images of 128 x 64 pixels. The rate is four
# times that of source training: with the number of iterations, it decided most (configs/start/README.md).
global_batch_size = 64
num_instances = 4
iters_per_epoch = 100

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1.5e-3, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=64, enable=False)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=1, end=12, T_max=11, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=12)

resize_backend = "cv2"  # on a CPU the time counts
