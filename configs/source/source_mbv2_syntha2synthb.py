# Stage 1 on rendered people, campus to street, plain encoder; trains on a CPU in minutes.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/source_small.py",
]

source = "syntha"
target = "synthb"
