# The UDA strong baseline on rendered people, campus to street.
_base_ = [
    "../_base_/methods/strong_baseline.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/uda_small.py",
]

source = "syntha"
target = "synthb"
test = ["synthb"]
stage1 = "work_dirs/source_mbv2_syntha2synthb-seed1"
model = dict(head=dict(init="random"))  # what the figures on the page were measured with
encoder = dict(norm=dict(type="DomainBN", keep_frozen=False))
default_hooks = dict(cluster=dict(interval=2, clusterer=dict(eps=0.55, k1=10, k2=4)))
