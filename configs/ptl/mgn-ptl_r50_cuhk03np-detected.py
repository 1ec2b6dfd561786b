# MGN with PTL's ladder, as released.
_base_ = [
    "../_base_/methods/ptl.py",
    "../_base_/encoders/r50_mgn_ptl.py",
    "../_base_/schedules/ptl_450e.py",
]

source = "cuhk03np-detected"
input_size = (384, 128)
model = dict(head=dict(num_globals=3))
iters_per_epoch = 191  # 767 people, four at a time
