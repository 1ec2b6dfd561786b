# The same parameters without memory: every batch starts from a new state.
_base_ = "./ptl_mbv2_digits.py"

default_hooks = dict(latent_state=dict(reset="batch"))
