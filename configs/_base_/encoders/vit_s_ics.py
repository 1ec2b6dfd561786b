# ViT-S/16 with the convolutional stem of TransReID-SSL (ICS), else as vit_s.py.
_base_ = "./vit_s.py"

encoder_name = "vit-s-ics"
encoder = dict(
    backbone=dict(stem="ics", init_cfg=dict(checkpoint="pretrained/vit_small_ics_cfs_lup.pth"))
)
