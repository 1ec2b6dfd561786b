# TMGF on rendered pedestrians of two cameras, three blocks of 96 channels from scratch: shows on a CPU that it runs.
_base_ = ["./_base_/tmgf.py", "../../../configs/_base_/schedules/proxies_small.py"]

target = "synthd"
reference_gpus = 1
encoder_name = "vit-tiny-ics"
encoder = dict(
    type="StripeEncoder",
    backbone=dict(
        type="ReIDViT",
        name="vit_tiny_patch16_224",
        embed_dim=96,
        depth=3,
        num_heads=3,
        stem="ics",
        output="token",
        cameras=2,
        drop_path=0.1,
    ),
    stripes=(2, 4),  # of eight rows of patches
    neck=dict(type="BNNeck"),
    norm=dict(type="GhostBN"),
)
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
