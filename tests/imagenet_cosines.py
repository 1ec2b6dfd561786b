"""How much alike images look to a network that has seen nobody of them: ImageNet's MobileNetV2."""

import numpy as np
import torch

from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.registry import MODELS


def imagenet_features(crops) -> np.ndarray:
    """Pooled features of unit norm, float32 (N, 1280), of images of one size, uint8 BGR."""
    network = MODELS.build(dict(type="MobileNetV2")).eval()
    load_pretrained(network, "bundled://mobilenet_v2")
    mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    inputs = (
        torch.from_numpy((np.stack(crops)[..., ::-1] / 255 - mean) / std)
        .permute(0, 3, 1, 2)
        .float()
    )
    with torch.inference_mode():
        features = torch.cat([network(part).mean((2, 3)) for part in inputs.split(64)]).numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def mean_cosines(features, pids, groups) -> list[float]:
    """Means over pairs: same person and group (a camera, say), same person alone, same group alone, neither."""
    one, other = np.triu_indices(len(features), 1)
    similarity = (features @ features.T)[one, other]
    person, group = pids[one] == pids[other], groups[one] == groups[other]
    kinds = (person & group, person & ~group, ~person & group, ~person & ~group)
    return [float(similarity[kind].mean()) for kind in kinds]
