# The average rule of HHCL: each centroid moves to the mean of its samples in the batch.
_base_ = "./cluster-contrast_r50_market.py"

model = dict(head=dict(memory=dict(update="mean")))
