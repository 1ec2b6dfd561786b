# The paper has no figures for this dataset: the values for Market-1501, not tuned.
_base_ = ["../_base_/methods/ise.py", "../_base_/encoders/r50.py", "../_base_/schedules/usl_70e.py"]

target = "dukemtmc"
