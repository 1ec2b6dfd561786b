# Cells of version 2.
_base_ = "./ptl_r50_market.py"

encoder = dict(backbone=dict(cell=dict(type="BConvCellV2")))
