# ABMT from Market-1501 to DukeMTMC-reID.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

source = "market1501"
target = "dukemtmc"
