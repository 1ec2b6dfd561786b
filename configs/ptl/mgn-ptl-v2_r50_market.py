# Cells of version 2.
_base_ = "./mgn-ptl_r50_market.py"

encoder = dict(cell=dict(type="BConvCellV2"))
