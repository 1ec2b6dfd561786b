# Stage 1 of MMT: everything comes one epoch earlier than in ABMT's, with half as many iterations.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/source_mmt_80e.py",
]

source = "market1501"
target = "msmt17"
