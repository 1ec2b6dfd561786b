# Label distillation: the teacher's softmax in place of the labels, centroids of confident images alone.
_base_ = "./fat_mbv2_synthb.py"

model = dict(head=dict(soft_labels="work_dirs/fat-teacher_mbv2_synthb"))
