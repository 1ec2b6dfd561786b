# First weights from rendered people, for cameras that were never seen: labels are certain, every image is filmed by a
# camera of its own.
_base_ = ["../default_runtime.py", "../datasets/reid.py"]

test = []  # nothing is adapted, and nothing that was rendered says how real cameras are met
model = dict(
    type="Supervised",
    ce_weight=1.0,
    triplet_weight=1.0,
    label_smoothing=0.1,
    head=dict(type="ClassifierHead"),
)
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic", backend="pillow"),
    dict(type="RandomCamera", prob=0.8),
    dict(type="RandomHorizontalFlip", prob=0.5),
    dict(type="PadRandomCrop", padding=10),
    dict(type="PackReIDInputs"),
]
