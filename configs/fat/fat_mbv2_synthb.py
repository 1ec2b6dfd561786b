# The normalised hybrid on forty rendered people at 64 x 32 pixels: a minute on one CPU core.
_base_ = [
    "../_base_/methods/fat.py",
    "../_base_/encoders/mbv2_fat.py",
    "../_base_/schedules/fat_small.py",
]

model = dict(terms="XE-triNorm-mgNorm", negatives="ctrdHM")
target = dict(_delete_=True, name="synthb", num_train_ids=40, num_test_ids=50, images_per_id=16)
input_size = (64, 32)
train_dataloader = dict(num_workers=1)
val_dataloader = dict(num_workers=1)
default_hooks = dict(cluster=dict(num_workers=1))
