# The normalised hybrid on forty rendered people at 64 x 32 pixels: a minute on one CPU core.
_base_ = [
    "../_base_/methods/fat.py",
    "../_base_/encoders/mbv2_fat.py",
    "../_base_/schedules/fat_small.py",
]

model = dict(terms="XE-triNorm-mgNorm", negatives="ctrdHM")
target = dict(_delete_=True, name="synthb", num_train_ids=40, num_test_ids=50, images_per_id=16)
input_size = (64, 32)
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic", backend="pillow"),
    dict(type="RandomHorizontalFlip", prob=0.5),
    dict(type="PadRandomCrop", padding=10),
    dict(type="RandomErasingBox", prob=0.5),
    dict(type="PackReIDInputs"),
]
train_dataloader = dict(num_workers=1)
val_dataloader = dict(num_workers=1)
relabel = dict(num_workers=1)
