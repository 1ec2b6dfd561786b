# MGN on ResNet-50 with PTL's ladder, as released: 2048-d, the eight vectors together; rungs = None is plain MGN.
encoder_name = "r50"
encoder = dict(
    type="MGNEncoder",
    backbone=dict(
        type="ResNet",
        depth=50,
        last_stride=2,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    cell=dict(type="BConvCell"),
    # (channels, stride) of each cell; the part of the trunk that its output is joined with; channels of the 1x1.
    blocks=[
        dict(out_layer="maxpool", cells=[(16, 2), (32, 2)], fuse=64),
        dict(out_layer="layer1", cells=[(64, 1)], fuse=128),
        dict(out_layer="layer2", cells=[(256, 2)], fuse=256),
        dict(out_layer="layer3.0", cells=[(512, 2)], fuse=512),
    ],
    cell_channels=128,
)
