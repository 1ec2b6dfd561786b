# IBN-ResNet-50-a; its ImageNet weights are the file resnet50_ibn_a of the IBN-Net authors.
_base_ = "./cluster-contrast_r50_market.py"

encoder = dict(
    backbone=dict(ibn="a", init_cfg=dict(checkpoint="pretrained/resnet50_ibn_a.pth")),
)
