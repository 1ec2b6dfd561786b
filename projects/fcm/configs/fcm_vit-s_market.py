# FCM as released: ViT-S, from TransReID-SSL's recipe without it, and that recipe again: SGD, 256 = 32 x 8 images.
_base_ = [
    "./_base_/fcm.py",
    "../../../configs/_base_/encoders/vit_s.py",
    "../../../configs/_base_/schedules/usl_vit_50e.py",
]

target = "market1501"
stage1 = "work_dirs/transreid-ssl_{encoder}_{target}"
model = dict(head=dict(memory=dict(update="hard", momentum=0.2)))
