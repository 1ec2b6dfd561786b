# ViT-S pre-trained on LUPerson: 256 = 32 x 8 images, SGD, 50 x 200 iterations.
_base_ = [
    "./_base_/transreid_ssl.py",
    "../../../configs/_base_/encoders/vit_s.py",
    "../../../configs/_base_/schedules/usl_vit_50e.py",
]

target = "market1501"
