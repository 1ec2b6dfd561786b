# Stage 1 on rendered people: ten short epochs on two CPU cores.
_base_ = "./source_80e.py"

iters_per_epoch = 25
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=3),
    dict(type="MultiStepLR", milestones=[7], gamma=0.1),
]
train_cfg = dict(max_epochs=10, val_interval=5)

resize_backend = "cv2"  # on a CPU the time counts
