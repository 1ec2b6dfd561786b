# A teacher: five epochs on all images, then three rounds of five epochs on those whose label it believes.
_base_ = [
    "../_base_/methods/fat.py",
    "../_base_/encoders/r50_fat.py",
    "../_base_/schedules/fat_teacher_20e.py",
]

target = "msmt17"
model = dict(terms="XE")
clusterer = dict(
    _delete_=True, type="ConfidentLabels", threshold=0.9, min_per_class=2, first_epoch=5
)
relabel = dict(interval=5)
default_hooks = dict(
    soft_labels=dict(write=True),
    optimizer_reset=dict(type="OptimizerResetHook", interval=5),
)
