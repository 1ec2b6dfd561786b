# Label distillation: the teacher's softmax for labels, centroids of confident images alone.
_base_ = "./fat_r50_duke.py"

model = dict(head=dict(soft_labels="work_dirs/fat-teacher_r50_duke"))
