# Stage 1 of the UDA strong baseline: GeM pooling.
_base_ = "./source_r50_duke2market.py"

encoder = dict(pool=dict(_delete_=True, type="GeM"))
