# A batch of 64 = 16 x 4 images.
_base_ = "./cluster-contrast_r50_market.py"

global_batch_size = 64
num_instances = 4
auto_scale_lr = dict(base_batch_size=64)
