# ViT-B/16, else as vit_s.py: 768-d.
_base_ = "./vit_s.py"

encoder_name = "vit-b"
encoder = dict(
    backbone=dict(
        name="vit_base_patch16_224",
        init_cfg=dict(checkpoint="pretrained/vit_base_cfs_lup.pth"),
    )
)
