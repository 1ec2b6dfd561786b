# A tiny transformer from random weights on rendered pedestrians: shows on a CPU that the recipe runs, not its worth.
_base_ = [
    "./_base_/transreid_ssl.py",
    "../../../configs/_base_/encoders/vit_t.py",
    "../../../configs/_base_/schedules/usl_small.py",
]

target = "synthb"
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
