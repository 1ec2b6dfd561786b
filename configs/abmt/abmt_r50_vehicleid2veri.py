_base_ = "./abmt_r50_duke2market.py"

source = "vehicleid"
target = "veri776"
test = ["veri776"]
stage1 = "work_dirs/source-ab_r50_vehicleid2veri"
