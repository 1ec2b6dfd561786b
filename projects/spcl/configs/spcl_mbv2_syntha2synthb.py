# SpCL on rendered pedestrians with a labelled source, campus to street.
_base_ = "./spcl_mbv2_synthb.py"

source = "syntha"
test = ["synthb"]
encoder = dict(norm=dict(_delete_=True, type="DomainBN", keep_frozen=False))
