# ResNet-50 with last stride 1, global average pooling, a BN neck with frozen bias: 2048-d.
# Batch-norm statistics over a quarter of the global batch, as on the papers' four GPUs (see reference_gpus), whatever
# the number of processes.
encoder_name = "r50"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(
        type="ResNet",
        depth=50,
        last_stride=1,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    pool=dict(type="GlobalAvgPool"),
    neck=dict(type="BNNeck"),
    norm=dict(type="GhostBN"),
)
