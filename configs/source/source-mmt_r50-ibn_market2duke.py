_base_ = "./source-mmt_r50-ibn_duke2market.py"

source = "market1501"
target = "dukemtmc"
test = ["dukemtmc", "market1501"]  # direct transfer, and the source itself
