# FAT on some hundred small crops, on one CPU core: eight epochs of twenty iterations, Adam as in the other small
# schedules.
_base_ = "./fat_60e.py"

iters_per_epoch = 20

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="Adam", lr=3.5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys={}),
)
param_scheduler = dict(step_size=6)
train_cfg = dict(max_epochs=8, val_interval=8)

resize_backend = "cv2"  # on a CPU the time counts
