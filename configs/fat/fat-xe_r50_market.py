# Cross-entropy alone.
_base_ = "./fat_r50_market.py"

model = dict(terms="XE")
