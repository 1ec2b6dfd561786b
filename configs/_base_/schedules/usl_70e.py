# ISE's schedule for Market-1501: 70 epochs, a tenth of the rate every 30.
_base_ = "./usl_50e.py"

param_scheduler = dict(step_size=30)
train_cfg = dict(max_epochs=70)
