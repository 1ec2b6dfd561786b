# FAT's embedding before the classifier on top of MobileNetV2: 512-d.
_base_ = "./mbv2.py"

encoder = dict(neck=dict(type="EmbeddingNeck", embed_dim=512, negative_slope=0.1, dropout=0.5))
