# Plain MGN: no cells, classifiers that start by their number of classes.
_base_ = "./mgn-ptl_r50_market.py"

model = dict(type="PTLBaseline", head=dict(init="fan_out"))
encoder = dict(rungs=None)
default_hooks = dict(latent_state=None)
