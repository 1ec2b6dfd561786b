# SpCL on rendered pedestrians with a labelled source, campus to street.
_base_ = [
    "./_base_/spcl.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/usl_small.py",
]

source = "syntha"
target = "synthb"
encoder = dict(norm=dict(_delete_=True, type="DomainBN", keep_frozen=False))
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
