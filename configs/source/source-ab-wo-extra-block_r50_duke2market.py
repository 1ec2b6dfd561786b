# Stage 1 of the ablation wo-extra-block.
_base_ = "./source-ab_r50_duke2market.py"

encoder = dict(extra_blocks=0)
