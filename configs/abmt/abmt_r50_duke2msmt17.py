_base_ = "./abmt_r50_duke2market.py"

source = "dukemtmc"
target = "msmt17"
test = ["msmt17"]
stage1 = "work_dirs/source-ab_r50_duke2msmt17"
