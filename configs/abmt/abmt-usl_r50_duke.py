_base_ = "./abmt-usl_r50_market.py"

target = "dukemtmc"
