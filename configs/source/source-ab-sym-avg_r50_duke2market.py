# Stage 1 of the ablation sym-avg.
_base_ = "./source-ab_r50_duke2market.py"

encoder = dict(second_pool=dict(type="GlobalAvgPool"))
