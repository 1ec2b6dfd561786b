_base_ = "./source-mmt_r50_duke2market.py"

source = "dukemtmc"
target = "msmt17"
test = ["msmt17", "dukemtmc"]  # direct transfer, and the source itself
