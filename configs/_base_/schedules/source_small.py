# Stage 1 on rendered people: ten short epochs on two CPU cores.
global_batch_size = 64
num_instances = dict(source=4, target=0)  # target images come in plain random order
iters_per_epoch = 25

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3.5e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=64, enable=False)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=3),
    dict(type="MultiStepLR", milestones=[7], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=5)
