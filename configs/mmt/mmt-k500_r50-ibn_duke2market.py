# MMT with IBN-ResNet-50-a.
_base_ = [
    "../_base_/methods/mmt_kmeans.py",
    "../_base_/encoders/r50_ibn_uda.py",
    "../_base_/schedules/uda_40e.py",
]

target = "market1501"
stage1 = [
    "work_dirs/source-mmt_r50-ibn_duke2market-seed1",
    "work_dirs/source-mmt_r50-ibn_duke2market-seed2",
]
