# Kept away from the mean of the other centroids.
_base_ = "./fat_r50_market.py"

model = dict(negatives="ctrdAvg")
