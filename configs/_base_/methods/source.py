# Source pre-training: stage 1 of MMT, ABMT and the UDA strong baseline. The target, if there is one, passes through
# without a loss, so that batch normalisation sees both domains; target = None leaves it out.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

test = ["target", "source"]  # direct transfer, and the source itself
model = dict(
    type="Supervised",
    ce_weight=1.0,
    triplet_weight=1.0,
    label_smoothing=0.1,
    head=dict(type="ClassifierHead"),
)
# No random erasing in this stage.
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic", backend="pillow"),
    dict(type="RandomHorizontalFlip", prob=0.5),
    dict(type="PadRandomCrop", padding=10),
    dict(type="PackReIDInputs"),
]
