# Two support samples per image, towards its two nearest clusters.
_base_ = "./ise_r50_market.py"

model = dict(num_neighbors=2)
