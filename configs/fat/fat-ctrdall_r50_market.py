# Kept away from the centroids of all other classes.
_base_ = "./fat_r50_market.py"

model = dict(negatives="ctrdAll")
