# MobileNetV2 with a small ladder; 512-d, trains on a CPU.
encoder_name = "mbv2"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(
        type="SideNetworkBackbone",
        trunk=dict(
            type="MobileNetV2",
            init_cfg=dict(type="Pretrained", checkpoint="bundled://mobilenet_v2"),
        ),
        cell=dict(type="BConvCell"),
        blocks=[
            dict(out_layer="features.3", cells=[(8, 2), (16, 2)], fuse=24),
            dict(out_layer="features.6", cells=[(32, 2)], fuse=32),
            dict(out_layer="features.13", cells=[(64, 2)], fuse=96),
            dict(out_layer="features.18", cells=[(128, 1)], fuse=512),
        ],
    ),
    pool=dict(type="GlobalAvgPool"),
    neck=dict(type="BNNeck"),
    channels_last=True,
)
