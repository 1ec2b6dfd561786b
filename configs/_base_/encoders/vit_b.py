# ViT-B/16, else as vit_s.py: 768-d. The file is that of your choice (docs/weights.md), under this name or another.
_base_ = "./vit_s.py"

encoder_name = "vit-b"
encoder = dict(
    backbone=dict(
        name="vit_base_patch16_224",
        init_cfg=dict(checkpoint="pretrained/vit_base.pth"),
    )
)
