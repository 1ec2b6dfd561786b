_base_ = "./mmt-k500_r50_duke2market.py"

target = "dukemtmc"
stage1 = [
    "work_dirs/source-mmt_r50_market2duke-seed1",
    "work_dirs/source-mmt_r50_market2duke-seed2",
]
