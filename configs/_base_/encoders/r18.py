# ResNet-18 with last stride 1, global average pooling, a BN neck with frozen bias: 512-d.
encoder_name = "r18"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(
        type="ResNet",
        depth=18,
        last_stride=1,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18"),
    ),
    pool=dict(type="GlobalAvgPool"),
    neck=dict(type="BNNeck"),
    norm=dict(type="GhostBN"),
)
