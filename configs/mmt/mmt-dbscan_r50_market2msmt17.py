# MMT from Market-1501 to MSMT17, DBSCAN.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "market1501"
target = "msmt17"
