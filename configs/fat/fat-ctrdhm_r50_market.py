# Kept away from the five centroids nearest to the own one.
_base_ = "./fat_r50_market.py"

model = dict(negatives="ctrdHM")
