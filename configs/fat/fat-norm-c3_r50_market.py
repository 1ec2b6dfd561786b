# The normalised hybrid with centroids of the third kind: means of features, scaled to unit length.
_base_ = "./fat-norm_r50_market.py"

model = dict(head=dict(centroids=dict(unit_kind="unit_mean")))
