# The ResNet-50 of MMT, ABMT and the UDA strong baseline: without the stem's ReLU (as released; ImageNet weights are
# loaded all the same), batch-norm statistics over 16 of the 64 images, as on the papers' four GPUs.
_base_ = "./r50.py"

encoder = dict(backbone=dict(stem_relu=False), norm=dict(samples_per_group=16))
