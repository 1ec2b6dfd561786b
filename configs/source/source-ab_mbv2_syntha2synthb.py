# Stage 1 on rendered people, campus to street, ABMT's two branches; trains on a CPU in minutes.
_base_ = [
    "../_base_/methods/source.py",
    "../_base_/encoders/mbv2_two_branches.py",
    "../_base_/schedules/source_small.py",
]

source = "syntha"
target = "synthb"
