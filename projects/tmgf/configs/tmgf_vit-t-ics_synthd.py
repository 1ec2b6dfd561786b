# TMGF on rendered pedestrians of two cameras, four blocks of 192 channels from scratch: shows on a CPU that it runs.
_base_ = [
    "./_base_/tmgf.py",
    "../../../configs/_base_/encoders/vit_t.py",
    "../../../configs/_base_/schedules/proxies_small.py",
]

target = "synthd"
reference_gpus = 1
encoder_name = "vit-t-ics"
encoder = dict(
    type="StripeEncoder",
    backbone=dict(stem="ics", cameras=2, drop_path=0.1),
    stripes=(2, 4),  # of eight rows of patches
)
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
