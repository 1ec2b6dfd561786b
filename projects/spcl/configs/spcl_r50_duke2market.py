# SpCL from DukeMTMC-reID to Market-1501: 64 source and 64 target images, a batch normalisation for each domain.
_base_ = [
    "./_base_/spcl.py",
    "../../../configs/_base_/encoders/r50.py",
    "../../../configs/_base_/schedules/usl_50e.py",
]

source = "dukemtmc"
target = "market1501"
encoder = dict(norm=dict(_delete_=True, type="DomainBN", keep_frozen=False))
global_batch_size = 64
num_instances = 4
auto_scale_lr = dict(base_batch_size=64)
