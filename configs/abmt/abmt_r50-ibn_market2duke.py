_base_ = "./abmt_r50-ibn_duke2market.py"

source = "market1501"
target = "dukemtmc"
test = ["dukemtmc"]
stage1 = "work_dirs/source-ab_r50-ibn_market2duke"
