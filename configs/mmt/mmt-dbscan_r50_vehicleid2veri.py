_base_ = "./mmt-dbscan_r50_duke2market.py"

target = "veri776"
stage1 = [
    "work_dirs/source-mmt_r50_vehicleid2veri-seed1",
    "work_dirs/source-mmt_r50_vehicleid2veri-seed2",
]
