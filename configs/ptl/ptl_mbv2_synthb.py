# PTL on a few rendered people at 64 x 32 pixels, labels given: a minute on one CPU core.
_base_ = [
    "../_base_/methods/ptl.py",
    "../_base_/encoders/mbv2_ptl.py",
    "../_base_/schedules/ptl_small.py",
]

input_size = (64, 32)
source = dict(_delete_=True, name="synthb", num_train_ids=80, num_test_ids=60, images_per_id=8)
train_dataloader = dict(num_workers=1)
val_dataloader = dict(num_workers=1)
