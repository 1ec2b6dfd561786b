"""ClassifierHead: rows that come and go, and MMT's and ABMT's whole losses on the worked example."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import load_state_dict
from mutual_example import F1, F2, G1, G2, LABELS, T1, T2, Z1, Z2

from mmreid_uda.models.algorithms import ABMT, MMT, MeanTeacherOutput, Supervised
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import BranchOutput, ClassifierHead
from mmreid_uda.models.losses import cross_entropy, soft_cross_entropy
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import InputError

ENCODER = dict(type="ReIDEncoder", backbone=dict(type="MobileNetV2", width_mult=0.1), norm=None)
TWO_BRANCHES = dict(ENCODER, type="AsymmetricBranchEncoder")
HEAD = dict(type="ClassifierHead")
SAMPLES = ReIDDataSample(gt_label=LABELS)


def one(features, logits):
    return BranchOutput(features[None], logits[None])


def two(first, second, first_logits, second_logits):
    return BranchOutput(torch.stack([first, second]), torch.stack([first_logits, second_logits]))


STUDENTS = [one(F1, Z1), one(F2, Z2)]
TEACHERS = [one(G1, T1), one(G2, T2)]


def losses_of(model, students, teachers):
    out = model.loss_target(MeanTeacherOutput(students, teachers), SAMPLES)
    return {name: loss for name, loss in out.items() if "loss" in name}


@pytest.mark.parametrize(
    "a, b, total", [(0.5, 0.8, 2.593244), (0.5, 0, 2.142169), (1, 1, 3.008683), (0, 0, 1.839498)]
)
def test_mutual_mean_teaching_of_the_worked_example(a, b, total):
    model = MMT(ENCODER, HEAD, soft_ce_weight=a, soft_triplet_weight=b)
    losses = losses_of(model, STUDENTS, TEACHERS)
    assert sum(losses.values()).item() == pytest.approx(total, abs=1e-5)
    assert ("loss_soft_ce_1" in losses) == (a > 0) and ("loss_triplet_2" in losses) == (b < 1)


def test_a_single_student_learns_from_its_own_teacher():
    model = MMT(ENCODER, HEAD, num_students=1)
    losses = losses_of(model, STUDENTS[:1], TEACHERS[:1])
    assert sum(losses.values()).item() == pytest.approx(1.237202, abs=1e-5)


def test_each_of_three_students_learns_from_the_mean_of_the_others():
    model = MMT(ENCODER, HEAD, num_students=3)
    students, teachers = [*STUDENTS, STUDENTS[0]], [*TEACHERS, TEACHERS[0]]
    losses = losses_of(model, students, teachers)
    expected = [0.5 * soft_cross_entropy(Z1, t) for t in (T2, T1)]
    assert losses["loss_soft_ce_1"].item() == pytest.approx(sum(expected).item() / 2, abs=1e-6)
    hard = 0.5 * cross_entropy(Z1, LABELS, label_smoothing=0.1)
    assert losses["loss_ce_1"].item() == pytest.approx(hard.item(), abs=1e-6)


@pytest.mark.parametrize(
    "cross, soft_ce, soft_triplet, total",
    [(True, 0.803960, 0.700382, 1.353006), (False, 0.778803, 0.640551, 1.280597)],
)
def test_asymmetric_branched_mean_teaching_of_the_worked_example(
    cross, soft_ce, soft_triplet, total
):
    model = ABMT(TWO_BRANCHES, HEAD, cross=cross)
    student, teacher = two(F1, F2, Z1, Z2), two(G1, G2, T1, T2)
    losses = losses_of(model, [student], [teacher])
    assert losses["loss_ce"].item() == pytest.approx(0.501289 / 2, abs=1e-5)
    assert losses["loss_soft_ce"].item() == pytest.approx(soft_ce / 2, abs=1e-5)
    assert losses["loss_soft_triplet"].item() == pytest.approx(soft_triplet, abs=1e-5)
    assert sum(losses.values()).item() == pytest.approx(total, abs=1e-5)


def test_the_first_stage_of_the_worked_example():
    losses = Supervised(TWO_BRANCHES, HEAD).loss_source(two(F1, F2, Z1, Z2), SAMPLES)
    assert sum(losses.values()).item() == pytest.approx(0.919749, abs=1e-5)


def relabeled(labels, features, **options):
    head = ClassifierHead(features.shape[1] // options.get("num_branches", 1), **options)
    head.on_relabel(PseudoLabelState(epoch=2, labels=labels, features=features, seed=7))
    return head


def test_the_active_rows_are_unit_centroids_branch_by_branch():
    torch.manual_seed(0)
    features, labels = torch.randn(9, 6), torch.tensor([0, 1, 2, -1, 0, 1, 2, 2, -1])
    head = relabeled(labels, features, num_branches=2)
    for c in range(3):
        mean = torch.stack([f for f, y in zip(features, labels) if y == c]).mean(0)
        torch.testing.assert_close(head.weight[0, c], F.normalize(mean[:3], dim=0))
        torch.testing.assert_close(head.weight[1, c], F.normalize(mean[3:], dim=0))
    assert head.num_classes == 3

    out = head(EncoderOutput(pooled=torch.randn(4, 6), embedding=features[:4]))
    assert out.pooled.shape == (2, 4, 3) and out.logits.shape == (2, 4, 3)
    torch.testing.assert_close(out.logits[1], features[:4, 3:] @ head.weight[1, :3].t())


def test_random_rows_are_small_and_the_same_in_every_network():
    features, labels = torch.randn(6, 64), torch.arange(6) // 2
    first, second = (relabeled(labels, features, init="random").weight[0, :3] for _ in range(2))
    assert torch.equal(first, second) and 0.0008 < first.std() < 0.0012


def test_uniform_rows_start_as_a_linear_layer_and_are_the_same_in_every_network():
    features, labels = torch.randn(6, 64), torch.arange(6) // 2
    first, second = (relabeled(labels, features, init="uniform").weight[0, :3] for _ in range(2))
    linear = torch.nn.Linear(64, 3, bias=False).weight.abs().max().item()
    assert 0.95 / 8 < linear <= 1 / 8 and 0.95 / 8 < first.abs().max().item() <= 1 / 8
    assert torch.equal(first, second)
    # The deviation of U(-b, b) is b / √3.
    assert first.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.1)


def test_the_rows_change_and_the_parameter_stays():
    """Optimisers and averages know a parameter by its identity."""
    head = ClassifierHead(4)
    parameter = head.weight
    assert head.num_classes == 0
    for classes in (3, 2, 3):
        labels, features = torch.arange(6) % classes, torch.randn(6, 4)
        head.on_relabel(PseudoLabelState(0, labels, features))
        assert head.weight is parameter and parameter.shape == (1, classes, 4) and head.renewed
        out = head(EncoderOutput(features, features))
        cross_entropy(out.logits, labels, label_smoothing=0.1).backward()
        assert parameter.grad.shape == parameter.shape and parameter.grad.abs().sum() > 0


def test_rows_that_are_there_keep_their_values_and_further_ones_follow_from_the_seed():
    first, second, other = (ClassifierHead(4, num_branches=2) for _ in range(3))
    for head, seed in ((first, 1), (second, 1), (other, 2)):
        head.set_num_classes(5, seed)
    assert torch.equal(first.weight, second.weight) and not torch.equal(first.weight, other.weight)
    before = first.weight.detach().clone()
    first.set_num_classes(5, 7)
    assert torch.equal(first.weight, before)
    first.set_num_classes(8, 7)
    assert torch.equal(first.weight[:, :5], before) and first.weight[:, 5:].std() < 0.002
    first.set_num_classes(3)
    assert torch.equal(first.weight, before[:, :3])


def test_the_number_of_classes_is_part_of_a_checkpoint():
    head, fresh = relabeled(torch.arange(6) // 2, torch.randn(6, 4)), ClassifierHead(4)
    fresh.load_state_dict(head.state_dict())
    assert fresh.num_classes == 3 and torch.equal(fresh.weight, head.weight)
    assert list(head.state_dict()) == ["weight"]


@pytest.mark.parametrize("load", [torch.nn.Module.load_state_dict, load_state_dict])
def test_checkpoints_of_fixed_capacity_load(load):
    """Version 0.1 had rows in reserve, and a count of those that took part; torch's loader and mmengine's."""
    head = ClassifierHead(4, num_branches=2)
    saved = dict(weight=torch.randn(2, 9, 4), active=torch.tensor(3))
    load(head, saved, strict=True)
    assert torch.equal(head.weight, saved["weight"][:, :3]) and not head.renewed


def test_an_unknown_start_of_the_rows_is_refused():
    with pytest.raises(InputError, match="init='zeros'"):
        ClassifierHead(4, init="zeros")
