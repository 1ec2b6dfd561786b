# Max pooling in both branches.
_base_ = "./abmt_r50_duke2market.py"

encoder = dict(pool=dict(type="GlobalMaxPool"))
stage1 = "work_dirs/source-ab-sym-max_r50_duke2market"
