_base_ = "./mebnet_r50_duke2market.py"

target = "dukemtmc"
stage1 = [f"work_dirs/source-meb_r50_market2duke-seed{seed}" for seed in (1, 2, 3)]
