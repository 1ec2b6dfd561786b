# FAT's ResNet-50: the last stride stays 2, a 512-d embedding before the classifier, batch-norm
# statistics over the whole batch.
_base_ = "./r50.py"

encoder = dict(
    backbone=dict(last_stride=2),
    neck=dict(type="EmbeddingNeck", embed_dim=512, negative_slope=0.1, dropout=0.5),
    norm=dict(samples_per_group=None),
)
