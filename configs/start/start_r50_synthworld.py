# A start for ResNet-50 from 10,000 rendered people before 300 cameras, for a GPU.
_base_ = [
    "../_base_/methods/start.py",
    "../_base_/encoders/r50.py",
    "../_base_/schedules/start_60e.py",
]

source = dict(_delete_=True, name="synthworld", num_train_ids=10_000, num_cameras=300)
