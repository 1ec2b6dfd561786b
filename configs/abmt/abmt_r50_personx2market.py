# ABMT from PersonX to Market-1501.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

source = "personx"
target = "market1501"
