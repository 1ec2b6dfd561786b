# ABMT from PersonX to MSMT17.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

source = "personx"
target = "msmt17"
