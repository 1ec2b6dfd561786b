# Without soft labels and soft triplets, with the teachers' features: a = b = 0.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(soft_ce_weight=0.0, soft_triplet_weight=0.0)
