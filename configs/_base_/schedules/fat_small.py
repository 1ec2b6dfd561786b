# FAT on some hundred small crops, on one CPU core: ten epochs of twenty iterations, Adam as in the other small
# schedules.
_base_ = "./fat_60e.py"

global_batch_size = 32
iters_per_epoch = 20

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="Adam", lr=3.5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys={}),
)
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = dict(step_size=7)
train_cfg = dict(max_epochs=10, val_interval=10)
