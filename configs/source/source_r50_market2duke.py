# Stage 1 for Market-1501 to DukeMTMC-reID, plain encoder.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/source_80e.py",
]

source = "market1501"
target = "dukemtmc"
