# Support samples without the label-preserving loss (the row "PLI" of the ablation).
_base_ = "./ise_r50_market.py"

model = dict(lp_weight=0.0)
