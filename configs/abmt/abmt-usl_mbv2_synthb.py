# ABMT on rendered people without a source.
_base_ = [
    "../_base_/methods/abmt_usl.py",
    "../_base_/encoders/mbv2_two_branches.py",
    "../_base_/schedules/uda_small.py",
]

target = "synthb"
default_hooks = dict(
    cluster=dict(clusterer=dict(k1=10, k2=4))
)  # ten images per person, not seventeen
