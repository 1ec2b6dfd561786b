# Soft losses alone: a = b = 1. Degrades: without hard labels nothing holds the classes.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(soft_ce_weight=1.0, soft_triplet_weight=1.0)
