# ISE on Market-1501: average pooling, hard memory with m = 0.2, eps 0.4, 70 epochs.
_base_ = ["../_base_/methods/ise.py", "../_base_/encoders/r50.py", "../_base_/schedules/usl_70e.py"]

target = "market1501"
