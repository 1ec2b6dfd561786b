_base_ = "./fat_r50_msmt17.py"

target = "dukemtmc"
