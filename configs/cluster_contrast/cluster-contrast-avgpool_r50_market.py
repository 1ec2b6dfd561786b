# Global average pooling instead of GeM; also the baseline of ISE.
_base_ = "./cluster-contrast_r50_market.py"

encoder = dict(pool=dict(type="GlobalAvgPool"))
