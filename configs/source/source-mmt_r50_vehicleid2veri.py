_base_ = "./source-mmt_r50_duke2market.py"

source = "vehicleid"
target = "veri776"
test = ["veri776", "vehicleid"]  # direct transfer, and the source itself
