# The baseline of the paper: one memory row per image, a class is the mean of its rows.
_base_ = "./cluster-contrast_r50_market.py"

model = dict(head=dict(memory=dict(_delete_=True, type="InstanceMemory", momentum=0.2)))
