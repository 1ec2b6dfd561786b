_base_ = "./spcl_r50_duke2market.py"

source = "msmt17"
