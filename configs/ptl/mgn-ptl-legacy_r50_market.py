# What the released script trains: memory in the first epoch alone.
_base_ = "./mgn-ptl_r50_market.py"

default_hooks = dict(latent_state=dict(legacy_val_flag=True))
