# DenseNet-161 with cells and three fully connected layers in training, the network of the paper.
_base_ = [
    "../_base_/methods/ptl.py",
    "../_base_/encoders/d161_ptl.py",
    "../_base_/schedules/ptl_450e.py",
]

source = "market1501"
input_size = (256, 128)
model = dict(head=dict(hidden=(512, 512)))
