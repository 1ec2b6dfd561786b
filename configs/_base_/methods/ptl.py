# PTL: supervised training of a network with batch-related cells, whose state is reset before every epoch.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

test = ["source"]
model = dict(
    type="PTL",
    ce_weight=1.0,
    triplet_weight=1.0,
    margin=1.2,
    head=dict(type="PTLHead"),
    test_cfg=dict(flip=True),
    data_preprocessor=dict(type="ReIDDataPreprocessor", erase_value=(0.0, 0.0, 0.0)),
)
# No padding and cropping; erased boxes are filled with zero, after normalisation.
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic", backend="pillow"),
    dict(type="RandomHorizontalFlip", prob=0.5),
    dict(type="RandomErasingBox", prob=0.5),
    dict(type="PackReIDInputs"),
]
train_dataloader = dict(batch_sampler=dict(use_cameras=False, distinct=True))
default_hooks = dict(
    # With the three moments of AMSGrad a checkpoint of MGN and cells takes 1.3 GB: every tenth epoch, two are kept.
    checkpoint=dict(interval=10, max_keep_ckpts=2),
)
