_base_ = "./abmt_r50_duke2market.py"

source = "market1501"
target = "msmt17"
test = ["msmt17"]
stage1 = "work_dirs/source-ab_r50_market2msmt17"
