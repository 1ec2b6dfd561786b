# ABMT from VehicleID to VeRi-776.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/r50_two_branches.py",
    "../_base_/schedules/uda_40e.py",
]

source = "vehicleid"
target = "veri776"
