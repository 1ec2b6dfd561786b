# Centroids start from one random instance of their cluster (first versions of the paper).
_base_ = "./cluster-contrast_r50_market.py"

model = dict(head=dict(memory=dict(init="random")))
