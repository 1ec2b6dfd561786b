_base_ = "./abmt_r50_duke2market.py"

source = "personx"
target = "market1501"
test = ["market1501"]
stage1 = "work_dirs/source-ab_r50_personx2market"
