"""The worked example of MMT's and ABMT's losses: four images, two networks (or branches), three classes."""

import torch

LABELS = torch.tensor([0, 0, 1, 1])
# Features and logits of the students, then of the teachers.
F1 = torch.tensor([[0, 0], [1, 0], [2, 1], [3, 3]], dtype=torch.float32)
F2 = torch.tensor([[0, 0.2], [0.8, 0], [2, 1.5], [2.6, 3]])
Z1 = torch.tensor([[2, 0.5, -1], [1, 0, 0.2], [-0.5, 1.5, 0], [0, 2, 0.5]])
Z2 = torch.tensor([[1.5, 0, -0.5], [1.2, 0.3, 0], [0, 1, 0.5], [-1, 1.8, 0]])
G1 = torch.tensor([[0, 0], [1, 0.5], [2, 0.5], [2.5, 3]])
G2 = torch.tensor([[0.1, 0], [0.9, 0.2], [1.8, 1.2], [3, 2.5]])
T1 = torch.tensor([[2.2, 0.2, -1], [1.5, 0, 0], [-0.2, 1.2, 0.1], [0, 2.4, 0.3]])
T2 = torch.tensor([[1.8, 0.1, -0.6], [1, 0.5, 0], [0.1, 0.9, 0.4], [-0.8, 2, 0]])
