# Camera proxies on a thousand small images on two CPU cores: the few short epochs of the other small schedules, but
# 32 = 8 x 4 images, which belong to these methods.
_base_ = "./usl_small.py"

global_batch_size = 32
auto_scale_lr = dict(base_batch_size=32)
