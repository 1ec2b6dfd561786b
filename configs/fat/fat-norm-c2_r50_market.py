# The normalised hybrid with centroids of the second kind: mean of unit features, not scaled again.
_base_ = "./fat-norm_r50_market.py"

model = dict(head=dict(centroids=dict(unit_kind="mean_unit")))
