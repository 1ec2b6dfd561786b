# Each branch learns from the same branch of the teacher.
_base_ = "./abmt_r50_duke2market.py"

model = dict(cross=False)
