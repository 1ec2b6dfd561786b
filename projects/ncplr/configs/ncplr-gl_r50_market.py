# Global-local NCPLR as released: whole and halves, 320 x 128 pixels.
_base_ = [
    "./_base_/global_local.py",
    "../../../configs/_base_/encoders/r50_gem.py",
    "../../../configs/_base_/schedules/usl_50e.py",
]

target = "market1501"
input_size = (320, 128)
iters_per_epoch = 200
encoder = dict(type="GlobalLocalEncoder")
