# ResNet-50 with the widths of the released ladder up to the last stage; 512-d.
encoder_name = "r50"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(
        type="SideNetworkBackbone",
        trunk=dict(
            type="ResNet",
            depth=50,
            last_stride=1,
            init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
        ),
        cell=dict(type="BConvCell"),
        blocks=[
            dict(out_layer="maxpool", cells=[(16, 2), (32, 2)], fuse=64),
            dict(out_layer="layer1", cells=[(64, 1)], fuse=128),
            dict(out_layer="layer2", cells=[(256, 2)], fuse=256),
            dict(out_layer="layer3", cells=[(512, 2)], fuse=512),
            dict(out_layer="layer4", cells=[(128, 1)], fuse=512),
        ],
    ),
    pool=dict(type="GlobalAvgPool"),
    neck=dict(type="BNNeck"),
)
