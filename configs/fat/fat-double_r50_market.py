# Plain and normalised terms together.
_base_ = "./fat_r50_market.py"

model = dict(terms="XE-doubleTri-doubleMG")
