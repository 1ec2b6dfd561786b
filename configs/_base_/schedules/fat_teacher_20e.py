# A teacher's schedule: five epochs on all images, then three rounds of five epochs, each with an optimiser of its own.
_base_ = "./fat_60e.py"

param_scheduler = None
train_cfg = dict(max_epochs=20)
