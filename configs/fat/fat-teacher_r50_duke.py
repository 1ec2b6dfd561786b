_base_ = "./fat-teacher_r50_msmt17.py"

target = "dukemtmc"
