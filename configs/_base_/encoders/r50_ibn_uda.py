# IBN-ResNet-50-a of MMT and ABMT, whose stem keeps the ReLU; its ImageNet weights are the file resnet50_ibn_a of the
# IBN-Net authors.
_base_ = "./r50.py"

encoder_name = "r50-ibn"
encoder = dict(
    backbone=dict(
        stem_relu=True, ibn="a", init_cfg=dict(checkpoint="pretrained/resnet50_ibn_a.pth")
    )
)
