# MMT from PersonX to Market-1501, DBSCAN.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "personx"
target = "market1501"
