# MMT from DukeMTMC-reID to Market-1501, DBSCAN.
_base_ = [
    "../_base_/methods/mmt_dbscan.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

target = "market1501"
stage1 = [
    "work_dirs/source-mmt_r50_duke2market-seed1",
    "work_dirs/source-mmt_r50_duke2market-seed2",
]
