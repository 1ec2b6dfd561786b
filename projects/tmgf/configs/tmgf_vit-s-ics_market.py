# TMGF as released: ViT-S with a convolutional stem and camera embeddings, 384 x 128, SGD, 50 epochs of 200 iterations.
_base_ = ["./_base_/tmgf.py", "../../../configs/_base_/schedules/proxies_50e.py"]

target = "market1501"
input_size = (384, 128)
reference_gpus = 1
encoder_name = "vit-s-ics"
encoder = dict(
    type="StripeEncoder",
    backbone=dict(
        type="ReIDViT",
        name="vit_small_patch16_224",
        stem="ics",
        output="token",
        cameras=6,
        camera_coefficient=3.0,
        drop_path=0.1,
        init_cfg=dict(type="Pretrained", checkpoint="pretrained/vit_small_ics_cfs_lup.pth"),
    ),
    stripes=(2, 3),
    neck=dict(type="BNNeck"),
    norm=dict(type="GhostBN"),
)
iters_per_epoch = 200
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=3.5e-4, momentum=0.9, weight_decay=5e-4)
)
