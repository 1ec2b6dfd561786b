_base_ = "./mmt-dbscan_r50_duke2market.py"

target = "msmt17"
stage1 = [
    "work_dirs/source-mmt_r50_duke2msmt17-seed1",
    "work_dirs/source-mmt_r50_duke2msmt17-seed2",
]
