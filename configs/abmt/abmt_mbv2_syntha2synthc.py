_base_ = "./abmt_mbv2_syntha2synthb.py"

target = "synthc"
test = ["synthc"]
stage1 = "work_dirs/source-ab_mbv2_syntha2synthc"
