# The sampler does not prefer images of other cameras.
_base_ = "./cluster-contrast_r50_market.py"

train_dataloader = dict(batch_sampler=dict(use_cameras=False))
