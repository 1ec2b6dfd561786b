# NCPLR on rendered pedestrians of two cameras, as hard as real ones, trains on a CPU in minutes.
_base_ = [
    "./_base_/ncplr.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/usl_small.py",
]

target = "synthd"
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
