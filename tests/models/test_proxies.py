"""Camera proxies: published and hand-checked numbers, slow loops, memories of one part and of several."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.models.losses import (
    association_similarities,
    intra_camera_loss,
    offline_loss,
    online_loss,
    online_positives,
    sum_over_cameras,
)
from mmreid_uda.models.memories import ProxyMemory
from mmreid_uda.structures import Evidence, PseudoLabelState, split_by_camera

# ---- the example of O2CAP: two images, six proxies of three clusters and two cameras

CLUSTERS = torch.tensor([0, 0, 1, 1, 2, 2])
CAMERAS = torch.tensor([0, 1, 0, 1, 0, 1])
PROXIES = torch.tensor([0, 3])  # of the two images


def at(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], 1).float()


ROWS, IMAGES = at(0, 25, 60, 95, 130, 170), at(40, 100)


def state_of(features, labels, cameras=None):
    evidence = None if cameras is None else Evidence(np.asarray(cameras))
    return PseudoLabelState(0, torch.as_tensor(labels), features, evidence=evidence)


def test_losses_and_gradient_of_the_worked_example():
    x = IMAGES.clone().requires_grad_()
    similarities = x @ ROWS.T
    logits = similarities / 0.5
    offline = offline_loss(logits, PROXIES, CLUSTERS, num_negatives=3)
    associations = association_similarities(similarities, ROWS, PROXIES, weight=0.15)
    expected = [
        [0.964907, 0.915250, 0.565954, 0.011954],
        [-0.100130, 0.329540, 0.811186, 0.999429, 0.826183, 0.271299],
    ]
    assert associations[0, :4].tolist() == pytest.approx(expected[0], abs=1e-5)
    assert associations[1].tolist() == pytest.approx(expected[1], abs=1e-5)
    positive = online_positives(associations, CAMERAS, num_positives=2)
    assert [row.nonzero().flatten().tolist() for row in positive] == [[0, 1], [3, 4]]
    online = online_loss(logits, associations, CAMERAS, num_positives=2, num_negatives=3)

    cameras = CAMERAS[PROXIES]
    assert sum_over_cameras(offline, cameras).item() == pytest.approx(2.664620, abs=1e-5)
    assert sum_over_cameras(online, cameras).item() == pytest.approx(2.564639, abs=1e-5)
    total = sum_over_cameras(offline + online, cameras)
    assert total.item() == pytest.approx(5.229258, abs=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(total, x)[0],
        torch.tensor([[-1.429959, 1.402715], [-0.132166, -0.485059]]),
        atol=1e-5,
        rtol=0,
    )


def test_the_loss_within_cameras_of_the_worked_example():
    # exp(2 s) over the own camera: 4.627834, 6.549477, 1.000000 of the one; 1.678060, 7.333034, 1.981869 of the other
    expected = [-math.log(4.627834 / 12.177311), -math.log(7.333034 / 10.992963)]
    intra = intra_camera_loss(IMAGES @ ROWS.T / 0.5, PROXIES, CAMERAS)
    assert intra.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_memory_of_the_worked_example():
    memory = ProxyMemory()
    memory.reset(state_of(ROWS, CLUSTERS, CAMERAS))
    torch.testing.assert_close(memory.prototypes, ROWS)
    memory.update(IMAGES, CLUSTERS[PROXIES], PROXIES)
    after = ROWS.clone()
    after[PROXIES] = torch.tensor([[0.845085, 0.534632], [-0.156445, 0.987687]])
    torch.testing.assert_close(memory.prototypes, after, atol=1e-5, rtol=0)


# ---- slow loops


def slow_contrast(z, positives, ranking, num_negatives):
    others = sorted((q for q in range(len(z)) if q not in positives), key=lambda q: -ranking[q])
    among = [z[q].exp() for q in [*positives, *others[:num_negatives]]]
    return -sum((z[q].exp() / sum(among)).log() for q in positives) / len(positives)


def slow_online_positives(a, cameras, num_positives, fill):
    best = {}
    for q, similarity in enumerate(a):
        camera = int(cameras[q])
        if camera not in best or similarity > a[best[camera]]:
            best[camera] = q
    chosen = sorted(best.values(), key=lambda q: -a[q])[:num_positives]
    if fill:
        rest = sorted((q for q in range(len(a)) if q not in chosen), key=lambda q: -a[q])
        chosen += rest[: num_positives - len(chosen)]
    return chosen


def test_what_fills_up_comes_behind_the_best_of_all_cameras():
    similarities = torch.tensor([[0.9, 0.8, -0.9, -0.95]])
    cameras = torch.tensor([0, 0, 1, 1])
    for num, expected in ((2, [0, 2]), (3, [0, 1, 2])):
        positive = online_positives(similarities, cameras, num, fill=True)
        assert positive[0].nonzero().flatten().tolist() == expected


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize(("num_cameras", "num_negatives"), [(1, 4), (2, 50), (5, 1), (5, 6)])
def test_losses_equal_slow_loops(num_cameras, num_negatives, fill):
    generator = torch.Generator().manual_seed(num_cameras)
    rows = F.normalize(torch.randn(12, 4, generator=generator), dim=1)
    x = F.normalize(torch.randn(9, 4, generator=generator), dim=1)
    clusters = torch.randint(4, (12,), generator=generator)
    cameras = torch.randint(-1, num_cameras - 1, (12,), generator=generator)
    assert -1 in cameras, "no camera is unknown"
    proxies = torch.randint(12, (9,), generator=generator)
    similarities = x @ rows.T
    logits = (similarities / 0.07).requires_grad_()

    slow, a = [], []
    for z, s, p in zip(logits, similarities, proxies.tolist()):
        here = [q for q in range(12) if cameras[q] == cameras[p]]
        intra = -(z[p].exp() / sum(z[q].exp() for q in here)).log()
        of_cluster = [q for q in range(12) if clusters[q] == clusters[p]]
        offline = slow_contrast(z, of_cluster, z, num_negatives)
        a.append([0.15 * s[q] + 0.85 * rows[p] @ rows[q] for q in range(12)])
        positives = slow_online_positives(a[-1], cameras, 3, fill)
        slow.append([intra, offline, slow_contrast(z, positives, a[-1], num_negatives)])
    slow = torch.stack([torch.stack(one) for one in slow], 1)

    associations = association_similarities(similarities, rows, proxies, 0.15)
    torch.testing.assert_close(associations, torch.tensor(a))
    fast = torch.stack(
        [
            intra_camera_loss(logits, proxies, cameras),
            offline_loss(logits, proxies, clusters, num_negatives),
            online_loss(logits, associations, cameras, 3, num_negatives, fill),
        ]
    )
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    gradients = [
        torch.autograd.grad(one.sum(), logits, retain_graph=True)[0] for one in (fast, slow)
    ]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_several_parts_at_once_are_one_after_the_other():
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(3, 6, 4, generator=generator), dim=2)
    x = F.normalize(torch.randn(3, 2, 4, generator=generator), dim=2)
    associations = association_similarities(x @ rows.mT, rows, PROXIES, 0.15)

    def losses(similarities, associations):
        logits = similarities / 0.07
        return torch.stack(
            [
                intra_camera_loss(logits, PROXIES, CAMERAS),
                offline_loss(logits, PROXIES, CLUSTERS, 3),
                online_loss(logits, associations, CAMERAS, 2, 3),
            ]
        )

    together = losses(x @ rows.mT, associations)
    for part in range(3):
        similarities = x[part] @ rows[part].T
        alone = association_similarities(similarities, rows[part], PROXIES, 0.15)
        torch.testing.assert_close(together[:, part], losses(similarities, alone))


def test_of_equal_proxies_of_a_camera_one_is_positive():
    similarities = torch.tensor([[0.5, 0.5, 0.5, 0.2]])
    positive = online_positives(similarities, torch.tensor([3, 3, 7, 7]), num_positives=3)
    assert positive.tolist() == [[True, False, True, False]]


def test_a_camera_with_one_image_counts_as_one_with_many():
    values = torch.tensor([1.0, 2.0, 3.0, 10.0])
    assert sum_over_cameras(values, torch.tensor([4, 4, 4, -1])).item() == pytest.approx(12)


# ---- memory


def test_clusters_are_split_by_camera_and_an_unknown_one_is_one_more():
    labels = np.array([1, 0, -1, 1, 1, 0, 1])
    cameras = np.array([3, 0, 0, -1, 3, 0, -1])
    proxies, clusters, of = split_by_camera(labels, cameras)
    assert proxies.tolist() == [2, 0, -1, 1, 2, 0, 1]
    assert clusters.tolist() == [0, 1, 1] and of.tolist() == [0, -1, 3]


def test_without_cameras_proxies_are_clusters_and_a_warning_says_so(monkeypatch):
    memory, said = ProxyMemory(), []
    monkeypatch.setattr(
        "mmreid_uda.models.memories.proxy_memory.print_log", lambda text, *_: said.append(text)
    )
    state = state_of(ROWS, CLUSTERS, CAMERAS)
    memory.reset(state)
    assert state.statistics == dict(proxies=6) and said == []
    memory.reset(state_of(ROWS, CLUSTERS))
    assert torch.equal(memory.proxies, CLUSTERS) and memory.cameras.tolist() == [-1] * 3
    assert len(said) == 1 and "of one camera" in said[0]


def test_each_part_of_a_proxy_is_a_memory_of_its_own():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 20, 4, generator=generator)
    labels = torch.randint(-1, 3, (20,), generator=generator)
    cameras = torch.randint(2, (20,), generator=generator)
    assert (labels == -1).any()
    whole, alone = ProxyMemory(num_parts=3), [ProxyMemory() for _ in range(3)]
    whole.reset(state_of(features.transpose(0, 1).flatten(1), labels, cameras))
    index = (labels >= 0).nonzero().flatten()[:9].repeat(2)
    x = F.normalize(torch.randn(3, 18, 4, generator=generator), dim=2)
    for one, own in zip(alone, features):
        one.reset(state_of(own, labels, cameras))
    torch.testing.assert_close(whole.parts, torch.stack([one.prototypes for one in alone]))
    whole.update(x.transpose(0, 1).flatten(1), labels[index], index)
    for one, own in zip(alone, x):
        one.update(own, labels[index], index)
    torch.testing.assert_close(whole.parts, torch.stack([one.prototypes for one in alone]))
    assert whole.proxies.tolist() == alone[0].proxies.tolist()


def test_a_memory_of_another_size_is_loaded():
    saved, loaded = ProxyMemory(), ProxyMemory()
    saved.reset(state_of(ROWS, CLUSTERS, CAMERAS))
    loaded.reset(state_of(ROWS, CLUSTERS))
    loaded.load_state_dict(saved.state_dict())
    assert all(
        torch.equal(loaded.state_dict()[name], one) for name, one in saved.state_dict().items()
    )
