# Stage 1 of the ablation wo-extra-block.
_base_ = "./source-ab_mbv2_syntha2synthb.py"

encoder = dict(extra_blocks=0)
