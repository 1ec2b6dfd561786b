# Without averages: alpha = 0, each network learns from the other as it is.
_base_ = "./mmt-k500_r50_duke2market.py"

model = dict(teacher=dict(alpha=0.0))
