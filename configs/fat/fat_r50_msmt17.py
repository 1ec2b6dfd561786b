# FAT as released, on MSMT17: XE-tri-mg with negatives of the batch, random crops of 384 x 128 out of 432 x 144.
_base_ = [
    "../_base_/methods/fat.py",
    "../_base_/encoders/r50_fat.py",
    "../_base_/schedules/fat_60e.py",
]

target = "msmt17"
input_size = (384, 128)
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(
        type="Resize", scale=(144, 432), interpolation="bicubic", backend="pillow"
    ),  # (width, height)
    dict(type="RandomCrop", crop_size=(384, 128)),
    dict(type="RandomHorizontalFlip", prob=0.5),
    dict(type="PackReIDInputs"),
]
