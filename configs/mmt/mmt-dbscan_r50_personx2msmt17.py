# MMT from PersonX to MSMT17, DBSCAN.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "personx"
target = "msmt17"
