# The same parameters without memory: every batch starts from a new state.
_base_ = "./mgn-ptl_r50_market.py"

default_hooks = dict(latent_state=dict(reset="batch"))
