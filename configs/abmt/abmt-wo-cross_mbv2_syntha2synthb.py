# Each branch learns from the same branch of the teacher.
_base_ = "./abmt_mbv2_syntha2synthb.py"

model = dict(cross=False)
