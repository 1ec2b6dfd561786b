# Support samples train, but only images update the memory.
_base_ = "./ise_r50_market.py"

model = dict(supports_in_memory=False)
