# Cells of version 2.
_base_ = "./ptl_d161_market.py"

encoder = dict(backbone=dict(cell=dict(type="BConvCellV2")))
