_base_ = "./source-mmt_r50_duke2market.py"

source = "market1501"
target = "msmt17"
test = ["msmt17", "market1501"]  # direct transfer, and the source itself
