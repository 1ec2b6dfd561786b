# Plain MGN: no cells, classifiers that start by their number of classes.
_base_ = [
    "../_base_/methods/ptl.py",
    "../_base_/encoders/r50_mgn_ptl.py",
    "../_base_/schedules/ptl_450e.py",
]

source = "market1501"
input_size = (384, 128)
model = dict(type="PTLBaseline", head=dict(num_globals=3, init="fan_out"))
encoder = dict(blocks=None)
