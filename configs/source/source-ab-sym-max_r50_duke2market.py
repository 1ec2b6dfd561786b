# Stage 1 of the ablation sym-max.
_base_ = "./source-ab_r50_duke2market.py"

encoder = dict(pool=dict(type="GlobalMaxPool"))
