# SpCL from DukeMTMC-reID to Market-1501: 64 source and 64 target images, a batch normalisation for each domain.
_base_ = "./spcl_r50_market.py"

source = "dukemtmc"
test = ["market1501"]
encoder = dict(norm=dict(_delete_=True, type="DomainBN", keep_frozen=False))
