# For comparison: the usual baseline, cross-entropy and the softmax-triplet loss with equal weights, on the hardest
# pairs of sixteen people with four images each.
_base_ = "./fat_mbv2_synthb.py"

model = dict(
    _delete_=True,
    type="ClusterBaseline",
    head=dict(type="ClassifierHead", init="random"),
    test_cfg=dict(flip=True, feature="pooled"),
)
default_hooks = dict(
    cluster=dict(interval=10),
    optimizer_reset=None,  # the moments of the annotated classes stay
)
num_instances = 4
