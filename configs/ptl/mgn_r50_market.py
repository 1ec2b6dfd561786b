# Plain MGN: no cells.
_base_ = "./mgn-ptl_r50_market.py"

model = dict(type="Supervised")
encoder = dict(rungs=None)
default_hooks = dict(latent_state=None)
