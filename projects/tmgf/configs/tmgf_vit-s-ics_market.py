# TMGF as released: ViT-S with a convolutional stem and camera embeddings, 384 x 128, SGD, 50 epochs of 200 iterations.
_base_ = [
    "./_base_/tmgf.py",
    "../../../configs/_base_/encoders/vit_s_ics.py",
    "../../../configs/_base_/schedules/proxies_50e.py",
]

target = "market1501"
input_size = (384, 128)
reference_gpus = 1
encoder = dict(
    type="StripeEncoder",
    backbone=dict(cameras=6, camera_coefficient=3.0, drop_path=0.1),
    stripes=(2, 3),
)
# Those of LUPerson, in 0..255; erased boxes are filled with its mean.
normalization = dict(mean=(89.8875, 79.203, 80.07), std=(67.83, 64.311, 63.8775))
model = dict(
    data_preprocessor=dict(type="ReIDDataPreprocessor", erase_value=(0.3525, 0.3106, 0.3140))
)
iters_per_epoch = 200
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=3.5e-4, momentum=0.9, weight_decay=5e-4)
)
