# PTL on images that are no people: from ImageNet to the digits of scikit-learn, half a minute on one CPU core.
_base_ = ["../_base_/methods/classification.py", "../_base_/encoders/mbv2_ptl.py"]

default_hooks = dict(latent_state=dict(type="LatentStateHook", reset="epoch"))
