# Classification of images of any kind, on the digits of scikit-learn: 8 x 8 pixels, enlarged to 32 x 32.
# For a dataset of yours change the two `dataset` dicts, num_classes and the pipeline; items with data_samples want
# another collate_fn and preprocessor, see docs/configuration.md.
_base_ = "../default_runtime.py"

model = dict(
    type="ImageClassifier",
    head=dict(type="PTLHead", num_classes=10),
    data_preprocessor=dict(type="ReIDDataPreprocessor"),
)
pipeline = [
    dict(type="Resize", scale=(32, 32), interpolation="bilinear"),
    dict(type="PackReIDInputs"),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="mmreid_uda.reid_collate"),
    drop_last=True,
    dataset=dict(type="DigitsDataset", split="train", pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="mmreid_uda.reid_collate"),
    dataset=dict(type="DigitsDataset", split="test", pipeline=pipeline),
)
val_evaluator = dict(type="Accuracy", topk=(1,))
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="Adam", lr=2e-4, weight_decay=5e-4, amsgrad=True)
)
auto_scale_lr = dict(base_batch_size=32, enable=False)
param_scheduler = [dict(type="MultiStepLR", milestones=[8], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=10)
default_hooks = dict(logger=dict(interval=10))
