# FCM on rendered pedestrians, trains on a CPU in minutes.
_base_ = [
    "./_base_/fcm.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/usl_small.py",
]

target = "synthb"
# Ten images per person, where Market-1501 has seventeen: fewer neighbours, in the distance and in the mean.
clusterer = dict(eps=0.55, k1=10, k2=4)
model = dict(num_neighbors=8)
