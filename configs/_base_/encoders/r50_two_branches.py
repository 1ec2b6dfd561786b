# ABMT's two branches on top of the same trunk: average pooling, and one block more with max pooling. Without the stem's
# ReLU, see r50_uda.py.
_base_ = "./r50.py"

encoder = dict(
    type="AsymmetricBranchEncoder",
    backbone=dict(stem_relu=False),
    second_pool=dict(type="GlobalMaxPool"),
    extra_blocks=1,
)
