# Compactness is the largest distance to a centroid, as in the paper, not the mean, as released.
_base_ = "./fat_r50_market.py"

model = dict(extent="radius")
