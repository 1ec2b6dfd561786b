# ABMT without a source: ImageNet weights.
_base_ = [
    "../_base_/methods/abmt_usl.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

target = "market1501"
