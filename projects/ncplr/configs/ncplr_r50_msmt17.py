# NCPLR on MSMT17, with the radii and iterations of the first release's script.
_base_ = [
    "./_base_/ncplr.py",
    "../../../configs/_base_/encoders/r50_gem.py",
    "../../../configs/_base_/schedules/usl_50e.py",
]

target = "msmt17"
clusterer = dict(eps=0.7)
model = dict(max_distance=0.3)
