# SpCL on rendered pedestrians with a labelled source, campus to street.
_base_ = "./spcl_mbv2_synthb.py"

source = "syntha"
test = ["synthb"]
encoder = dict(norm=dict(_delete_=True, type="DomainBN", samples_per_group=32, keep_frozen=False))
