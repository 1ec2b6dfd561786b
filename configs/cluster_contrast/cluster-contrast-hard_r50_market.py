# The first version of the paper: each centroid moves to its least similar sample in the batch.
_base_ = "./cluster-contrast_r50_market.py"

model = dict(head=dict(memory=dict(update="hard")))
