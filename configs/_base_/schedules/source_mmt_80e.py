# Stage 1 with the schedule of MMT's code: stepped at the start of an epoch, so everything comes one epoch earlier, and
# half as many iterations.
_base_ = "./source_80e.py"

iters_per_epoch = 100
param_scheduler = [
    dict(type="LinearLR", start_factor=0.109, begin=0, end=10),
    dict(type="MultiStepLR", milestones=[39, 69], gamma=0.1),
]
