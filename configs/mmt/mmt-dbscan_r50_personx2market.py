_base_ = "./mmt-dbscan_r50_duke2market.py"

target = "market1501"
stage1 = [
    "work_dirs/source-mmt_r50_personx2market-seed1",
    "work_dirs/source-mmt_r50_personx2market-seed2",
]
