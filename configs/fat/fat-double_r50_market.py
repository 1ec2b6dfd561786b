# Plain and normalised terms together.
_base_ = "./fat_r50_market.py"

model = dict(head=dict(loss=dict(name="XE-doubleTri-doubleMG")))
