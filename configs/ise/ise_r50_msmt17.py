# ISE on MSMT17: momentum memory with m = 0.1, eps 0.7, beta 0.01, 50 epochs.
_base_ = ["../_base_/methods/ise.py", "../_base_/encoders/r50.py", "../_base_/schedules/usl_50e.py"]

target = "msmt17"
model = dict(head=dict(memory=dict(update="momentum", momentum=0.1)), lp_weight=0.01)
clusterer = dict(eps=0.7)
