# Images alone in the contrastive loss, supports in the label-preserving loss (the row "LP" of the ablation).
_base_ = "./ise_r50_market.py"

model = dict(supports_in_loss=False)
