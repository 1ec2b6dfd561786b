# ViT-B, else as transreid-ssl_vit-s_market.py.
_base_ = [
    "./_base_/transreid_ssl.py",
    "../../../configs/_base_/encoders/vit_b.py",
    "../../../configs/_base_/schedules/usl_vit_50e.py",
]

target = "market1501"
