_base_ = "./source-mmt_r50_duke2market.py"

source = "personx"
target = "market1501"
test = ["market1501", "personx"]  # direct transfer, and the source itself
