_base_ = "./source-mmt_r50_duke2market.py"

source = "personx"
target = "msmt17"
test = ["msmt17", "personx"]  # direct transfer, and the source itself
