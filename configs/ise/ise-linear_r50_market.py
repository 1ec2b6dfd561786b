# Supports move linearly with training instead of logarithmically.
_base_ = "./ise_r50_market.py"

default_hooks = dict(progressive=dict(schedule="linear"))
