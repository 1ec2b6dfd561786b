# Cells of version 2, which join the input features of earlier batches to the present ones.
_base_ = "./ptl_mbv2_digits.py"

encoder = dict(backbone=dict(cell=dict(type="BConvCellV2", history="ema", concat="channel")))
