# O2CAP as released: 32 = 8 x 4 images on one GPU, 400 iterations, ten epochs of warm-up, a tenth after 20 and 40.
_base_ = [
    "./_base_/cap_o2cap.py",
    "../../../configs/_base_/encoders/r50.py",
    "../../../configs/_base_/schedules/proxies_50e.py",
]

target = "market1501"
reference_gpus = 1
model = dict(type="O2CAP", num_positives=3, image_weight=0.15)
