# The normalised hybrid: unit features, centroids of the fourth kind, hard centroids as negatives.
_base_ = "./fat_r50_market.py"

model = dict(terms="XE-triNorm-mgNorm", negatives="ctrdHM")
