# ABMT's two branches on top of the same trunk: average pooling, and one block more with max pooling.
_base_ = "./r50_ibn_uda.py"

encoder = dict(
    type="AsymmetricBranchEncoder", second_pool=dict(type="GlobalMaxPool"), extra_blocks=1
)
