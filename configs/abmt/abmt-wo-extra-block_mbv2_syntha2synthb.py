# Branches of equal depth, different in pooling.
_base_ = "./abmt_mbv2_syntha2synthb.py"

encoder = dict(extra_blocks=0)
stage1 = "work_dirs/source-ab-wo-extra-block_mbv2_syntha2synthb"
