# ResNet-50 with generalised-mean pooling.
_base_ = "./r50.py"

encoder = dict(pool=dict(type="GeM"))
