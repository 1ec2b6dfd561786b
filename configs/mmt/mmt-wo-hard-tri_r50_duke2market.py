# Without hard triplets: b = 1.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(soft_triplet_weight=1.0)
