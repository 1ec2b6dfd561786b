# Without soft labels: a = 0.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(soft_ce_weight=0.0)
