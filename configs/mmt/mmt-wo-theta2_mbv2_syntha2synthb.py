# Without the second network: the student learns from its own mean, with the same weights a and b.
_base_ = "./mmt-dbscan_mbv2_syntha2synthb.py"

model = dict(num_students=1)
stage1 = "work_dirs/source_mbv2_syntha2synthb-seed1"
