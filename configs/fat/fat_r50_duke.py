# FAT as released: XE-tri-mg with negatives of the batch, random crops of 384 x 128 out of 432 x 144.
_base_ = [
    "../_base_/methods/fat.py",
    "../_base_/encoders/r50_fat.py",
    "../_base_/schedules/fat_60e.py",
]

target = "dukemtmc"
