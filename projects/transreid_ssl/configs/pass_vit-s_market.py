# PASS: three part tokens, one neck for the class token and the mean of the parts, else as
# transreid-ssl_vit-s_market.py.
_base_ = [
    "./_base_/transreid_ssl.py",
    "../../../configs/_base_/encoders/vit_s.py",
    "../../../configs/_base_/schedules/usl_vit_50e.py",
]

target = "market1501"
encoder_name = "pass-vit-s"
encoder = dict(
    backbone=dict(
        part_tokens=3,
        output="parts-cat",
        init_cfg=dict(checkpoint="pretrained/pass_vit_small_full.pth"),
    )
)
