# A teacher: five epochs on all images, then three rounds of five epochs on those whose label it believes.
_base_ = "./fat_r50_msmt17.py"

model = dict(terms="XE")
default_hooks = dict(
    cluster=dict(
        interval=5,
        clusterer=dict(
            _delete_=True, type="ConfidentLabels", threshold=0.9, min_per_class=2, first_epoch=5
        ),
    ),
    soft_labels=dict(write=True),
    optimizer_reset=dict(type="OptimizerResetHook", interval=5),
)
param_scheduler = None
train_cfg = dict(max_epochs=20)
