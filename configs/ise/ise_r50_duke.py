# The paper has no figures for this data set: the values for Market-1501, not tuned.
_base_ = "./ise_r50_market.py"

target = "dukemtmc"
