# O2CAP on rendered pedestrians of two cameras, as hard as real ones, trains on a CPU in minutes.
_base_ = [
    "./_base_/cap_o2cap.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/proxies_small.py",
]

target = "synthd"
reference_gpus = 1
model = dict(type="O2CAP")
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
