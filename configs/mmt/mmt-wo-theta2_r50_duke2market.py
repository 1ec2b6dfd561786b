# Without the second network: the student learns from its own mean, with the same weights a and b.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(num_students=1)
stage1 = "work_dirs/source-mmt_r50_duke2market-seed1"
