# A start that nobody's picture went into: MobileNetV2 learns to tell rendered people apart, before widely drawn cameras.
_base_ = [
    "../_base_/methods/start.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/start_small.py",
]

source = "synthworld"
