# FAT's schedule: SGD with Nesterov momentum, ten times the rate for what is new, a tenth after 40 epochs; 64 images in
# random order, an epoch is one pass.
global_batch_size = 64
num_instances = 0
iters_per_epoch = None

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4),
    paramwise_cfg=dict(
        custom_keys={"encoder.neck": dict(lr_mult=10), "head.classifier": dict(lr_mult=10)}
    ),
)
auto_scale_lr = dict(base_batch_size=64, enable=False)
param_scheduler = dict(type="StepLR", step_size=40, gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=10)
