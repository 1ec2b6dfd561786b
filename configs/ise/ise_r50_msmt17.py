# ISE on MSMT17: momentum memory with m = 0.1, eps 0.7, beta 0.01, 50 epochs.
_base_ = "./ise_r50_market.py"

target = "msmt17"
model = dict(head=dict(memory=dict(update="momentum", momentum=0.1)), lp_weight=0.01)
default_hooks = dict(cluster=dict(clusterer=dict(eps=0.7)))
param_scheduler = dict(step_size=20)
train_cfg = dict(max_epochs=50)
