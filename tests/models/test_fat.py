"""FAT: the loss on worked examples and against a slow loop, the bound, centroids, head and algorithm."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.config import load_config
from mmreid_uda.models.algorithms import FAT
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import BranchOutput, FATHead
from mmreid_uda.models.losses import NEGATIVE_SETS
from mmreid_uda.models.memories import CENTROID_KINDS, ClassCentroids, class_centroids
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample, SoftLabels, TrainingImages
from mmreid_uda.utils import InputError

IMAGES = torch.tensor([[3.0, 0], [4, 1], [0, 2], [1, 3], [-2, -1], [-3, 0]])
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
ANCHORS = torch.tensor([[2, 1], [1.5, 2], [2, 1.5], [0, 0.5], [-1, 1], [-0.5, 0.5]])
FAR_APART = torch.tensor([[3.5, 0.5], [3, 1], [1, 2], [1, 2], [-1.5, -1], [-2, 1]])
CENTROIDS = {
    "mean": [[3.5, 0.5], [0.5, 2.5], [-2.5, -0.5]],
    "mean_unit": [[0.985071, 0.121268], [0.158114, 0.974342], [-0.947214, -0.223607]],
    "unit_mean": [[0.989949, 0.141421], [0.196116, 0.980581], [-0.980581, -0.196116]],
    "unit_mean_unit": [[0.992508, 0.122183], [0.160182, 0.987087], [-0.973249, -0.229753]],
}
# Images from another angle, for slow loops: uneven classes, not in blocks.
MIXED = torch.tensor([3, 0, 1, 1, 2, 0, 4, 3, 2, 2, 0, 4, 5, 5, 1])


def centroids(kind):
    return class_centroids(IMAGES, LABELS, 3, kind)


def value(losses):
    return sum(losses.values()).item()


ENCODER = dict(type="ReIDEncoder", backbone=dict(type="MobileNetV2", width_mult=0.1), norm=None)


def fat(terms, negatives="batchNeg", **options):
    """The loss of FAT as a function of a batch and the centroids."""
    model = FAT(ENCODER, terms=terms, negatives=negatives, **options)
    model.head.forward = lambda out: out  # it is given what it would say

    def losses(features, labels, plain, unit, logits=None, targets=None):
        model.head.centroids.plain, model.head.centroids.unit = plain, unit
        if targets is not None:
            model.head.targets = lambda labels, _: (labels, targets)
        logits = torch.zeros(len(features), len(plain)) if logits is None else logits
        samples = ReIDDataSample(gt_label=labels, sample_idx=torch.arange(len(labels)))
        return model.loss_target(BranchOutput(features[None], logits[None]), samples)

    return losses


@pytest.mark.parametrize("kind", CENTROID_KINDS)
def test_centroids_are_those_of_the_worked_example(kind):
    torch.testing.assert_close(centroids(kind), torch.tensor(CENTROIDS[kind]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "negatives, hinge, total",
    [
        ("ctrdHM", 0.517563, 0.722611),
        ("ctrdAvg", 0.744457, 0.949505),
        ("ctrdAll", 0.678375, 0.883423),
        ("batchNeg", 1.120865, 1.325912),
    ],
)
def test_plain_terms_of_the_worked_example(negatives, hinge, total):
    criterion = fat("XE-tri-mg", negatives, own_centroid=True)
    logits = torch.zeros(6, 3)
    losses = criterion(ANCHORS, LABELS, centroids("mean"), centroids("unit_mean_unit"), logits)
    assert losses["loss_xe"].item() == pytest.approx(math.log(3), abs=1e-5)
    assert losses["loss_tri"].item() == pytest.approx(hinge, abs=1e-5)
    assert losses["loss_mg"].item() == pytest.approx(0.2050476, abs=1e-5)
    assert value(losses) == pytest.approx(total + 1.098612, abs=1e-5)


def test_normalized_terms_of_the_worked_example():
    criterion = fat("triNorm-mgNorm", "ctrdHM")
    losses = criterion(ANCHORS, LABELS, centroids("mean"), centroids("unit_mean_unit"))
    assert losses["loss_tri_norm"].item() == pytest.approx(0.088592, abs=1e-5)
    assert losses["loss_mg_norm"].item() == pytest.approx(0.663187, abs=1e-5)
    assert value(losses) == pytest.approx(0.751779, abs=1e-5)


@pytest.mark.parametrize("negatives", NEGATIVE_SETS)
def test_the_own_centroid_adds_a_constant_where_the_classes_are_far_apart(negatives):
    sets = centroids("mean"), centroids("unit_mean_unit")
    losses = fat("doubleTri-doubleMG", negatives)(FAR_APART, LABELS, *sets)
    assert losses["loss_tri"].item() == 0
    assert losses["loss_mg"].item() == pytest.approx(0.0803415, abs=1e-5)
    assert losses["loss_mg_norm"].item() == pytest.approx(0.309568, abs=1e-5)
    quirk = fat("tri", negatives, own_centroid=True)
    expected = 1 / 3 if negatives == "ctrdAll" else 0
    assert value(quirk(FAR_APART, LABELS, *sets)) == pytest.approx(expected, abs=1e-5)


def test_soft_cross_entropy_of_the_worked_example():
    logits, target = torch.tensor([[1.0, 0, -1]]), torch.tensor([[0.7, 0.2, 0.1]])
    one = torch.zeros(1, 2), torch.tensor([0]), torch.zeros(3, 2), torch.zeros(3, 2)
    assert value(fat("XE")(*one, logits, target)) == pytest.approx(0.807606, abs=1e-5)


def slow_fat(features, labels, centers, negatives, margin, count, own_centroid):
    """Hinge and compactness, one anchor and one negative at a time."""

    def distance(a, b):
        return math.sqrt(sum((x - y + 1e-6) ** 2 for x, y in zip(a.tolist(), b.tolist())))

    chosen = []
    for x, y in zip(features, labels.tolist()):
        others = [c for k, c in enumerate(centers) if k != y]
        if negatives == "ctrdAll":
            chosen.append(list(centers) if own_centroid else others)
        elif negatives == "ctrdAvg":
            chosen.append([torch.stack(others).mean(0)])
        elif negatives == "ctrdHM":
            chosen.append(sorted(others, key=lambda c, y=y: distance(c, centers[y]))[:count])
        else:
            images = [f for f, label in zip(features, labels.tolist()) if label != y]
            chosen.append(sorted(images, key=lambda f, x=x: distance(f, x)))
    least = min(count, min(map(len, chosen))) if negatives == "batchNeg" else None
    own = [distance(x, centers[y]) for x, y in zip(features, labels.tolist())]
    hinges = [
        max(0.0, near - distance(x, negative) + margin)
        for x, near, row in zip(features, own, chosen)
        for negative in row[:least]
    ]
    return sum(hinges) / len(hinges), own


@pytest.mark.parametrize("own_centroid", [False, True])
@pytest.mark.parametrize("negatives", NEGATIVE_SETS)
def test_the_loss_equals_a_slow_loop_on_uneven_classes(negatives, own_centroid):
    generator = torch.Generator().manual_seed(4)
    features = 3 * torch.randn(15, 7, generator=generator)
    plain, unit = torch.randn(2, 6, 7, generator=generator)
    options = dict(negatives=negatives, num_negatives=3, own_centroid=own_centroid)
    mean = fat("doubleTri-doubleMG", **options)(features, MIXED, plain, unit)
    radius = fat("tri-doubleMG", extent="radius", **options)(features, MIXED, plain, unit)
    sides = (("", features, plain, 1.0, 0.1), ("_norm", F.normalize(features), unit, 0.1, 1.0))
    for norm, points, centers, margin, weight in sides:
        hinge, own = slow_fat(points, MIXED, centers, negatives, margin, 3, own_centroid)
        assert mean[f"loss_tri{norm}"].item() == pytest.approx(hinge, abs=1e-5)
        assert mean[f"loss_mg{norm}"].item() == pytest.approx(weight * sum(own) / 15, abs=1e-5)
        assert radius[f"loss_mg{norm}"].item() == pytest.approx(weight * max(own), abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_no_triplet_exceeds_the_bound(seed):
    generator = torch.Generator().manual_seed(seed)
    num_classes, dim = 2 + seed % 5, 1 + seed % 4
    labels = torch.arange(6 * num_classes) % num_classes
    centers = torch.randn(num_classes, dim, generator=generator) * (1 + seed % 3)
    features = centers[labels] + torch.randn(len(labels), dim, generator=generator)
    means = class_centroids(features, labels, num_classes)
    distances, to_means = torch.cdist(features, features), torch.cdist(features, means)
    own = to_means[torch.arange(len(labels)), labels]
    radii = torch.stack([own[labels == c].max() for c in range(num_classes)])
    same = labels.unsqueeze(1) == labels
    positive, negative = same & ~torch.eye(len(labels), dtype=torch.bool), ~same
    valid = positive.unsqueeze(2) & negative.unsqueeze(1)  # (anchor, positive, negative)
    triplets = (distances.unsqueeze(2) - distances.unsqueeze(1) + 1).clamp(min=0)
    hinges = (own.unsqueeze(1) - to_means[:, labels] + 1).clamp(min=0)
    bounds = hinges + radii[labels].unsqueeze(1) + radii[labels]  # (anchor, negative)
    assert ((triplets - bounds.unsqueeze(1))[valid] <= 1e-4).all()
    # Classes of equal size: the mean over triplets is bounded by the loss with the largest radius twice.
    criterion = fat("tri-mg", "ctrdAll", extent="radius", mg_weight=2.0)
    assert triplets[valid].mean() <= value(criterion(features, labels, means, means)) + 1e-4


def test_images_that_an_anchor_is_kept_from_are_constants():
    plain = centroids("mean")
    # The negatives are held fixed: the gradient of an anchor is that of its own terms alone.
    alone, together = (ANCHORS.clone().requires_grad_() for _ in range(2))
    own = (alone - plain[LABELS] + 1e-6).norm(dim=1)
    away = torch.stack(
        [(x - ANCHORS[y != LABELS] + 1e-6).norm(dim=1) for x, y in zip(alone, LABELS)]
    )
    (F.relu(own.unsqueeze(1) - away + 1).mean() + 0.1 * own.mean()).backward()
    sum(fat("tri-mg")(together, LABELS, plain, plain).values()).backward()
    torch.testing.assert_close(together.grad, alone.grad)


NAMES = [
    "-".join(part for part in parts if part)
    for parts in itertools.product(
        ("XE", ""), ("", "tri", "triNorm", "doubleTri"), ("", "mg", "mgNorm", "doubleMG")
    )
    if parts[0] or parts[1]
]


def test_every_name_of_the_released_code_gives_the_sum_of_its_parts():
    assert {"XE-tri-mg", "XE-doubleTri-mg", "XE-doubleTri-mgNorm"} <= set(NAMES)
    sets = centroids("mean"), centroids("unit_mean_unit")
    logits = ANCHORS @ torch.ones(2, 3)
    alone = {
        term: fat(f"XE-{term}" if term != "XE" else term)(ANCHORS, LABELS, *sets, logits)
        for term in ("XE", "tri", "triNorm", "mg", "mgNorm")
    }
    everything = {name: loss for losses in alone.values() for name, loss in losses.items()}
    doubles = dict(doubleTri=["tri", "triNorm"], doubleMG=["mg", "mgNorm"])
    keys = dict(
        XE="loss_xe", tri="loss_tri", triNorm="loss_tri_norm", mg="loss_mg", mgNorm="loss_mg_norm"
    )
    for name in NAMES:
        terms = [term for part in name.split("-") for term in doubles.get(part, [part])]
        expected = sum(everything[keys[term]] for term in terms).item()
        assert value(fat(name)(ANCHORS, LABELS, *sets, logits)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["", "mg", "triCtrd", "tri-XE", "XE-tri-tri", "XE-tri-triNorm"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="XE-tri-mg"):
        fat(name)


def test_a_batch_of_one_class_has_no_hinge():
    points = ANCHORS.clone().requires_grad_()
    losses = fat("tri-mg")(points, torch.ones(6, dtype=torch.long), IMAGES[:2], IMAGES[:2])
    assert losses["loss_tri"] == 0 and losses["loss_mg"] > 0
    sum(losses.values()).backward()
    assert points.grad.isfinite().all()


def test_what_cannot_be_kept_apart_is_named():
    one_class = torch.zeros(6, dtype=torch.long)
    for negatives in ("ctrdHM", "ctrdAvg", "ctrdAll"):
        with pytest.raises(InputError, match="found"):
            fat("tri", negatives)(ANCHORS, one_class, torch.zeros(1, 2), torch.zeros(1, 2))
    for options in (dict(negatives="all"), dict(extent="max"), dict(num_negatives=0)):
        with pytest.raises(InputError, match="FAT"):
            fat("XE-tri", **options)
    with pytest.raises(InputError, match="unit_mean"):
        ClassCentroids(kind="median")


# ---- head and algorithm


def state(labels=LABELS, features=IMAGES):
    return PseudoLabelState(epoch=0, labels=labels, features=features)


def test_a_relabeling_moves_the_centroids_and_leaves_the_classifier():
    head = FATHead(in_channels=4)
    head.on_relabel(state(features=-IMAGES))
    before = head.classifier.weight.clone()
    head.on_relabel(state())
    torch.testing.assert_close(head.centroids.plain, centroids("mean"))
    torch.testing.assert_close(head.centroids.unit, centroids("unit_mean_unit"))
    assert torch.equal(head.classifier.weight, before) and head.classifier.num_classes == 3
    restored = FATHead(in_channels=4)
    restored.load_state_dict(head.state_dict())
    assert torch.equal(restored.centroids.plain, head.centroids.plain)
    assert restored.classifier.num_classes == 3


def test_the_head_hands_the_gradient_of_its_loss_to_the_features():
    model = FAT(ENCODER, terms="tri-mg")
    model.head = head = FATHead(in_channels=4)
    head.on_relabel(state())
    through, direct = (ANCHORS.clone().requires_grad_() for _ in range(2))
    out = EncoderOutput(pooled=through, embedding=torch.ones(6, 4))
    samples = ReIDDataSample(gt_label=LABELS, sample_idx=torch.arange(6))
    sum(model.loss_target(out, samples).values()).backward()
    losses = fat("tri-mg")(direct, LABELS, centroids("mean"), centroids("unit_mean_unit"))
    sum(losses.values()).backward()
    torch.testing.assert_close(through.grad, direct.grad)


# The teacher thinks that image 1 is of class 2, and is not sure of image 3.
TABLE = torch.tensor(
    [[0.9, 0.1, 0], [0.1, 0, 0.9], [0, 1, 0], [0.25, 0.5, 0.25], [0, 0, 1], [0, 0.1, 0.9]]
)
SURE = torch.tensor([True, False, True, False, True, True])


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(probabilities=np.full((6, 2), np.nan)), "6 rows with NaN"),
        (dict(probabilities=np.zeros((6, 2))), "6 rows of zeros"),
        (dict(probabilities=np.ones((5, 2))), "6 labels, 6 choices and 5 distributions"),
        (dict(probabilities=np.ones(6)), r"shape \(6,\)"),
        (None, "holds no soft labels"),
    ],
)
def test_soft_labels_that_cannot_be_learned_from_are_refused(tmp_path, change, words):
    path = tmp_path / SoftLabels.FILE
    SoftLabels(LABELS, TABLE, SURE, "six images").save(path)
    if change is None:
        path.write_bytes(path.read_bytes()[:200])
    else:
        with np.load(path) as saved:
            np.savez(path, **{**saved, **change})
    with pytest.raises(InputError, match=f"{words}.*train the teacher again"):
        SoftLabels.load(path)


def write_soft_labels(folder, labels=LABELS):
    SoftLabels(labels, TABLE, SURE, "six images").save(folder / SoftLabels.FILE)
    return str(folder)


@pytest.mark.parametrize("soft_classes", [True, False])
def test_a_student_trains_on_what_the_teacher_says(tmp_path, soft_classes):
    head = FATHead(
        in_channels=4,
        soft_labels=write_soft_labels(tmp_path),
        soft_classes=soft_classes,
    )
    head.on_relabel(state())
    means = [[3, 0], [0, 2], [-2.5, -0.5]] if soft_classes else CENTROIDS["mean"]
    torch.testing.assert_close(head.centroids.plain, torch.tensor(means, dtype=torch.float32))
    order = torch.tensor([5, 1, 3, 0, 2, 4])
    logits = torch.linspace(-1, 1, 18).view(6, 3)
    output = head.classifier(
        type("Out", (), dict(pooled=ANCHORS, embedding=torch.zeros(6, 4)))
    )._replace(logits=logits.unsqueeze(0))
    model = FAT(ENCODER)
    model.head = head
    samples = ReIDDataSample(gt_label=LABELS[order], sample_idx=order)
    head.forward = lambda out: output
    losses = model.loss_target(None, samples)
    expected = -(TABLE[order] * logits.log_softmax(1)).sum(1).mean()
    assert losses["loss_xe"].item() == pytest.approx(expected.item(), abs=1e-3)  # half precision
    classes = TABLE.argmax(1)[order] if soft_classes else LABELS[order]
    hard = fat("tri-mg")(ANCHORS, classes, head.centroids.plain, head.centroids.unit)
    assert losses["loss_tri"].item() == pytest.approx(hard["loss_tri"].item())
    assert losses["loss_mg"].item() == pytest.approx(hard["loss_mg"].item())


def test_soft_labels_of_other_data_are_refused(tmp_path):
    head = FATHead(in_channels=4, soft_labels=str(tmp_path / "none"))
    with pytest.raises(InputError, match="fat-teacher"):
        head.on_relabel(state())
    head = FATHead(in_channels=4, soft_labels=write_soft_labels(tmp_path))
    with pytest.raises(InputError, match="1 of the labels differ"):
        head.on_relabel(state(labels=torch.tensor([0, 0, 1, 1, 2, 1])))
    with pytest.raises(InputError, match=r"the 5 images .*they are for 6.* the teacher again"):
        head.on_relabel(state(LABELS[:5], IMAGES[:5]))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MODELS.build(load_config("configs/fat/fat_mbv2_synthb.py").model)


def test_clustered_features_keep_their_length_and_test_features_do_not_know_their_batch(model):
    images = torch.randn(5, 3, 64, 32)
    seen = TrainingImages(images)
    model.eval()
    with torch.no_grad():
        unit = model.extract_feat(images)
        clustered = model.cluster_features(lambda network, images: network(images), seen)
        pooled = model.encoder(images).pooled
        mirrored = pooled + model.encoder(images.flip(-1)).pooled
        torch.testing.assert_close(clustered, pooled)
        torch.testing.assert_close(unit, F.normalize(mirrored, dim=1))
        single = torch.cat([model.extract_feat(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(single, unit, atol=1e-5, rtol=1e-4)


def test_probabilities_of_extracted_features_are_those_of_the_network(model):
    model.head.classifier.set_num_classes(3)
    images = torch.randn(4, 3, 64, 32)
    model.train()
    with torch.no_grad():
        model.encoder.eval()
        out = model.encoder(images)
        model.train()
        found = model.probabilities(None, TrainingImages(None, features=out.pooled))
        expected = model.head(out).logits[0].softmax(1)
    assert model.encoder.neck.training
    torch.testing.assert_close(found, expected)
