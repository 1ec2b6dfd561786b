# ABMT without a source: ImageNet weights.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

target = "market1501"
clusterer = dict(source_weight=0.0)  # there is no source to ask
