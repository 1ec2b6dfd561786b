_base_ = "./mmt-k500_r50-ibn_duke2market.py"

target = "dukemtmc"
stage1 = [
    "work_dirs/source-mmt_r50-ibn_market2duke-seed1",
    "work_dirs/source-mmt_r50-ibn_market2duke-seed2",
]
default_hooks = dict(cluster=dict(clusterer=dict(num_clusters=700)))
