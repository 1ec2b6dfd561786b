# A teacher: five epochs on all images, then three rounds of five epochs on those whose label it believes. Half a chance
# counts as confident: a hundred iterations make a network less sure than five epochs of a large data set.
_base_ = "./fat_mbv2_synthb.py"

model = dict(terms="XE")
default_hooks = dict(
    cluster=dict(
        interval=5,
        clusterer=dict(
            _delete_=True, type="ConfidentLabels", threshold=0.5, min_per_class=2, first_epoch=5
        ),
    ),
    soft_labels=dict(write=True),
    optimizer_reset=dict(type="OptimizerResetHook", interval=5),
)
global_batch_size = 32
reference_gpus = 1  # batch-norm statistics over all of them
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = None
train_cfg = dict(max_epochs=20, val_interval=20)
