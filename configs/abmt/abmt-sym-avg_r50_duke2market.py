# Average pooling in both branches.
_base_ = "./abmt_r50_duke2market.py"

encoder = dict(second_pool=dict(type="GlobalAvgPool"))
stage1 = "work_dirs/source-ab-sym-avg_r50_duke2market"
