# ABMT's two branches on the trunk of r50_ibn_uda.py.
_base_ = "./r50.py"

encoder_name = "r50-ibn"
encoder = dict(
    type="AsymmetricBranchEncoder",
    backbone=dict(
        stem_relu=True, ibn="a", init_cfg=dict(checkpoint="pretrained/resnet50_ibn_a.pth")
    ),
    second_pool=dict(type="GlobalMaxPool"),
    extra_blocks=1,
)
