# Stage 1 for DukeMTMC-reID to MSMT17, plain encoder.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/source_80e.py",
]

source = "dukemtmc"
target = "msmt17"
