# Cluster-Contrast as released: GeM pooling, momentum memory, eps 0.6, 400 iterations.
_base_ = [
    "../_base_/methods/cluster_contrast.py",
    "../_base_/encoders/r50_gem.py",
    "../_base_/schedules/usl_50e.py",
]

target = "msmt17"
