# The UDA strong baseline on rendered people, campus to street.
_base_ = [
    "../_base_/methods/strong_baseline.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/uda_small.py",
]

source = "syntha"
target = "synthb"
stage1 = "work_dirs/source_{encoder}_{source}2{target}-seed1"
model = dict(head=dict(init="random"))  # what the figures on the page were measured with
encoder = dict(norm=dict(type="DomainBN", keep_frozen=False))
relabel = dict(interval=2)
clusterer = dict(eps=0.55, k1=10, k2=4)
