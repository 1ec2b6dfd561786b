# A plain ResNet-50 with cells beside all of its stages.
_base_ = [
    "../_base_/methods/ptl.py",
    "../_base_/encoders/r50_ptl.py",
    "../_base_/schedules/ptl_450e.py",
]

source = "market1501"
input_size = (256, 128)
