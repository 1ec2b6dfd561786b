# Cluster-Contrast on rendered pedestrians, trains on a CPU in minutes.
_base_ = [
    "../_base_/methods/cluster_contrast.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/usl_small.py",
]

target = "synthb"
input_size = (128, 64)
