# ResNet-18, else as ResNet-50: 512-d.
_base_ = "./r50.py"

encoder_name = "r18"
encoder = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint="torchvision://resnet18")),
)
