# The ResNet-50 of MMT, ABMT and the UDA strong baseline: without the stem's ReLU (as released; ImageNet weights are
# loaded all the same).
_base_ = "./r50.py"

encoder = dict(backbone=dict(stem_relu=False))
