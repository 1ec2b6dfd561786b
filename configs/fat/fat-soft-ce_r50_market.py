# The teacher's softmax for the cross-entropy alone; centroids and hinge follow the labels as given.
_base_ = "./fat-distill_r50_market.py"

model = dict(head=dict(soft_classes=False))
