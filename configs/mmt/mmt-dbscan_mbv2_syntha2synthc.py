_base_ = "./mmt-dbscan_mbv2_syntha2synthb.py"

target = "synthc"
stage1 = ["work_dirs/source_mbv2_syntha2synthc-seed1", "work_dirs/source_mbv2_syntha2synthc-seed2"]
