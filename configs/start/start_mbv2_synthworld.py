# The start that is shipped as rendered://mobilenet_v2, of 3,000 rendered people before 100 cameras; trains on a CPU.
_base_ = [
    "../_base_/methods/start.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/start_small.py",
]

source = "synthworld"
reference_gpus = 1  # batch norm over the whole batch, whose images come from as many cameras
