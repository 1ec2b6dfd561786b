# Without hard labels in the cross-entropy: a = 1.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(soft_ce_weight=1.0)
