# For comparison: the network without cells, the same 1x1 convolution behind it.
_base_ = "./ptl_mbv2_synthb.py"

model = dict(type="PTLBaseline")
encoder = dict(backbone=dict(rungs=[dict(tap="features.18", fuse=512)]))
default_hooks = dict(latent_state=None)
