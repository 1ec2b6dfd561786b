# The schedule of methods on camera proxies: Adam, 32 = 8 x 4 images on one GPU, 50 epochs of 400 iterations, ten of
# them a linear warm-up from a hundredth of the rate; a tenth of it after 20 and after 40.
global_batch_size = 32
num_instances = 4
iters_per_epoch = 400

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3.5e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=32, enable=False)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=11),
    dict(type="MultiStepLR", milestones=[20, 40], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=10)
