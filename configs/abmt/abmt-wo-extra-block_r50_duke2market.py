# Branches of equal depth, different in pooling.
_base_ = "./abmt_r50_duke2market.py"

encoder = dict(extra_blocks=0)
stage1 = "work_dirs/source-ab-wo-extra-block_r50_duke2market"
