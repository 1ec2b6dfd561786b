# ViT-S/16 pre-trained on LUPerson (TransReID-SSL): class token, a BN neck with frozen bias, 384-d; it takes input_size.
encoder_name = "vit-s"
encoder = dict(
    type="ReIDEncoder",
    backbone=dict(
        type="ReIDViT",
        name="vit_small_patch16_224",
        drop_path=0.3,
        init_cfg=dict(type="Pretrained", checkpoint="pretrained/vit_small_cfs_lup.pth"),
    ),
    neck=dict(type="BNNeck"),
    norm=dict(type="GhostBN"),
)
# Erased boxes are still filled with ImageNet's mean, as released.
normalization = dict(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))
