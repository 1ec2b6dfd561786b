# Without soft labels and soft triplets, with the teachers' features: a = b = 0.
_base_ = "./mmt-dbscan_mbv2_syntha2synthb.py"

model = dict(soft_ce_weight=0.0, soft_triplet_weight=0.0)
