# Four blocks of ViT-Ti/16, which start at random: 192-d, trains on a CPU. timm's weights of the model, from a file:
# encoder.backbone.init_cfg.type=Pretrained encoder.backbone.init_cfg.checkpoint=FILE.
encoder_name = "vit-t"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(type="ReIDViT", name="vit_tiny_patch16_224", depth=4),
    neck=dict(type="BNNeck"),
    norm=dict(type="GhostBN"),
)
normalization = dict(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))

reference_gpus = 2  # batch-norm statistics over half of the batch
