"""MeanTeacher and its kin: who is averaged, clustered, tested and taught; how stage 1 gets in."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.models.algorithms import ABMT, MMT, ClusterBaseline, StrongBaseline, Supervised
from mmreid_uda.models.layers import GhostBN
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import InputError

BACKBONE = dict(type="MobileNetV2", width_mult=0.1)
ENCODER = dict(type="ReIDEncoder", backbone=BACKBONE)
TWO_BRANCHES = dict(type="AsymmetricBranchEncoder", backbone=BACKBONE)
HEAD = dict(type="ClassifierHead")


def build(kind, *args, **kwargs):
    """A model at the start of a training, with four clusters."""
    torch.manual_seed(0)
    model = kind(*args, **kwargs)
    model.init_weights()
    features = torch.randn(12, model.encoder.embed_dim)
    model.on_relabel(PseudoLabelState(epoch=0, labels=torch.arange(12) % 4, features=features))
    return model


def batch(num_source=0, num_target=4):
    total = num_source + num_target
    domain = torch.tensor([0] * num_source + [1] * num_target)
    labels = torch.arange(total) // 2 % 4
    samples = ReIDDataSample(gt_label=labels, sample_idx=torch.arange(total), domain=domain)
    return torch.randn(total, 3, 64, 32), samples


def same_weights(first, second):
    return all(
        torch.equal(one, other)
        for one, other in zip(first.state_dict().values(), second.state_dict().values())
    )


def test_teachers_start_as_copies_and_move_with_their_own_student():
    model = build(MMT, ENCODER, HEAD)
    pairs = list(zip(model.students, model.teachers))
    assert all(same_weights(student, teacher.module) for student, teacher in pairs)
    assert not same_weights(*model.students)
    for student in model.students:
        for parameter in student.parameters():
            parameter.data.add_(0.01)
    model.update_teachers(0)
    for student, teacher in pairs:
        for one, other in zip(student.parameters(), teacher.module.parameters()):
            assert torch.equal(one, other)


def test_students_and_teachers_get_the_same_rows():
    model = build(MMT, ENCODER, HEAD)
    rows = [n.head.weight[0, :4] for n in (*model.students, *(t.module for t in model.teachers))]
    assert all(torch.equal(rows[0], other) for other in rows[1:])
    assert model.head.num_classes == 4


def test_every_network_sees_its_own_view():
    model = build(MMT, ENCODER, HEAD)
    seen = []
    for network in (*model.students, *(teacher.module for teacher in model.teachers)):
        network.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    (first, samples), (second, _) = batch(), batch()
    model((first, second), samples, mode="loss")
    assert [x is first for x in seen] == [True, False, True, False]
    assert [x is second for x in seen] == [False, True, False, True]
    with pytest.raises(InputError, match=r"found 1 views .* for 2 students"):
        model((first,), samples, mode="loss")


@pytest.mark.parametrize("kind", [MMT, ABMT, StrongBaseline])
def test_students_learn_and_teachers_do_not(kind):
    model = build(kind, TWO_BRANCHES if kind is ABMT else ENCODER, HEAD)
    images, samples = batch()
    loss, _ = model.parse_losses(model((images, images.flip(-1)), samples, mode="loss"))
    loss.backward()
    frozen = {"neck.bn.bias", "second_neck.bn.bias"}
    for name, parameter in model.students.named_parameters():
        if not name.endswith(tuple(frozen)):
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert all(parameter.grad is None for parameter in model.teachers.parameters())


def test_the_loss_is_that_of_single_networks_put_together():
    model = build(ABMT, TWO_BRANCHES, HEAD)
    for parameter in model.students.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    images, samples = batch()
    found = model(images, samples, mode="loss")
    student, teacher = model.students[0], model.teachers[0].module
    x, u = student(images), teacher(images)
    half = x.pooled.shape[1] // 2
    z = [x.embedding[:, :half] @ student.head.weight[0, :4].t()]
    z += [x.embedding[:, half:] @ student.head.weight[1, :4].t()]
    t = [u.embedding[:, :half] @ teacher.head.weight[0, :4].t()]
    t += [u.embedding[:, half:] @ teacher.head.weight[1, :4].t()]
    y = samples.gt_label
    hard = sum(F.cross_entropy(one, y, label_smoothing=0.1) for one in z) / 2
    soft = (F.cross_entropy(z[0], t[1].softmax(1)) + F.cross_entropy(z[1], t[0].softmax(1))) / 2
    assert found["loss_ce"].item() == pytest.approx(0.5 * hard.item(), abs=1e-4)
    assert found["loss_soft_ce"].item() == pytest.approx(0.5 * soft.item(), abs=1e-4)


def test_features_are_those_of_the_chosen_network():
    model = build(MMT, ENCODER, HEAD).eval()
    images, _ = batch()
    each = [F.normalize(teacher.module(images).embedding, dim=1) for teacher in model.teachers]
    mean = (each[0] + each[1]) / 2
    torch.testing.assert_close(model(images), F.normalize(mean, dim=1))
    for number in (1, 2):
        alone = model.extract_feat(images, network=number)
        torch.testing.assert_close(alone, each[number - 1])
        model.network = number
        torch.testing.assert_close(model(images), alone)
    model.network = "student"
    for parameter in model.students.parameters():
        parameter.data.mul_(1.1)
    assert not torch.allclose(model(images), F.normalize(mean, dim=1), atol=1e-4)


@pytest.mark.parametrize("flip", [False, True])
def test_mirrored_features_are_of_the_mirrored_image_alone(flip):
    model = build(MMT, ENCODER, HEAD, test_cfg=dict(network="teacher", flip=flip)).eval()
    images, _ = batch()
    target = SimpleNamespace(target="of the target")

    def extract(network, dataset):
        assert dataset == "of the target"
        return network(images)

    mirrored = model.mirrored_features(extract, target)
    assert model.flip is flip
    model.flip = False
    torch.testing.assert_close(mirrored, model(images.flip(-1)))
    assert not torch.allclose(mirrored, model(images), atol=1e-4)


def test_unnormalized_means_are_clustered_but_unit_features_tested():
    model = build(MMT, ENCODER, HEAD, renormalize=False).eval()
    images, samples = batch()
    clustered = model(images, mode="tensor")
    [tested] = model(images, samples, mode="predict")
    assert (clustered.norm(dim=1) < 0.999).any()
    torch.testing.assert_close(tested.features, F.normalize(clustered, dim=1))


def test_the_worked_example_of_a_mean_feature():
    first, second = (
        F.normalize(torch.tensor([[3.0, 4.0]])),
        F.normalize(torch.tensor([[5.0, 12.0]])),
    )

    class Fixed(torch.nn.Module):
        def __init__(self, rows):
            super().__init__()
            self.embedding = rows

        def forward(self, x):
            return self

    model = build(MMT, ENCODER, HEAD)
    model._networks = lambda network: [Fixed(first), Fixed(second)]
    assert model(torch.zeros(1))[0].tolist() == pytest.approx([0.496139, 0.868243], abs=1e-5)
    model.renormalize = False
    assert model(torch.zeros(1))[0].tolist() == pytest.approx([0.492308, 0.861538], abs=1e-5)


def test_diversity_is_the_distance_between_unit_features():
    model = build(ABMT, TWO_BRANCHES, HEAD)
    images, samples = batch()
    at_start = model(images, samples, mode="loss")
    pooled = model.teachers[0].module(images).pooled
    g, m = (F.normalize(half, dim=1) for half in pooled.chunk(2, dim=1))
    apart = sum(float((one - other).norm()) for one, other in zip(g, m)) / len(g)
    assert at_start["diversity_branches"].item() == pytest.approx(apart, abs=1e-4)
    assert at_start["diversity_teacher"].item() == pytest.approx(0, abs=1e-4)
    assert at_start["diversity_supervision"].item() == pytest.approx(apart, abs=1e-4)


def stage_one(encoder):
    torch.manual_seed(5)
    model = Supervised(encoder, HEAD)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.05 * torch.randn_like(tensor).abs())
    return model


@pytest.mark.parametrize("kind, encoder", [(MMT, ENCODER), (ABMT, TWO_BRANCHES)])
def test_a_checkpoint_of_stage_one_fills_students_and_teachers(kind, encoder):
    from mmengine.runner.checkpoint import load_state_dict

    source, model = stage_one(encoder), build(kind, encoder, HEAD)
    load_state_dict(model, source.state_dict())
    for network in (*model.students, *(teacher.module for teacher in model.teachers)):
        assert same_weights(network.encoder, source.encoder)


def test_each_student_may_have_a_source_model_of_its_own(tmp_path):
    encoders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.pth"
        torch.save(dict(state_dict=Supervised(ENCODER, HEAD).state_dict()), path)
        encoders.append(dict(ENCODER, init_cfg=dict(type="Pretrained", checkpoint=str(path))))
    model = build(MMT, encoders, HEAD)
    for seed, teacher in enumerate(model.teachers, 1):
        torch.manual_seed(seed)
        assert same_weights(teacher.module.encoder, Supervised(ENCODER, HEAD).encoder)
    with pytest.raises(InputError, match="found 2 encoders"):
        MMT(encoders, HEAD, num_students=3)


def test_unknown_networks_are_refused():
    with pytest.raises(InputError, match=r"test_cfg\.network=3"):
        MMT(ENCODER, HEAD, test_cfg=dict(network=3))


def supervised():
    encoder = dict(ENCODER, norm=dict(type="GhostBN", momentum=1.0))
    torch.manual_seed(0)
    model = Supervised(encoder, HEAD)
    model.on_source(4)
    return model


def test_the_target_leaves_its_statistics_behind_and_no_gradient():
    images, samples = batch(num_source=4, num_target=4)
    with_target, without = supervised(), supervised()
    losses = with_target(images, samples, mode="loss")
    alone = without(images[:4], samples[:4], mode="loss")
    for name in ("loss_ce", "loss_triplet"):
        torch.testing.assert_close(losses[name], alone[name])
    sum(losses.values()).backward()
    sum(alone.values()).backward()
    for one, other in zip(with_target.parameters(), without.parameters()):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)
    # With momentum 1 the statistics are the last batch's: the target's, which comes after the source.
    first = next(m for m in with_target.modules() if isinstance(m, GhostBN))
    last = next(m for m in without.modules() if isinstance(m, GhostBN))
    seen = with_target.encoder.backbone.features[0][0](images[4:]).mean((0, 2, 3))
    torch.testing.assert_close(first.running_mean, seen)
    assert not torch.allclose(first.running_mean, last.running_mean)


def test_the_clustering_baseline_uses_its_own_features_and_hard_losses():
    model = build(ClusterBaseline, ENCODER, HEAD)
    images, samples = batch()
    assert set(model(images, samples, mode="loss")) == {"loss_ce", "loss_triplet"}


def test_source_images_take_part_in_the_statistics_of_the_strong_baseline_alone():
    encoder = dict(ENCODER, norm=dict(type="DomainBN"))
    model = build(StrongBaseline, encoder, HEAD)
    images, samples = batch(num_source=4, num_target=4)
    together = model(images, samples, mode="loss")
    alone = build(StrongBaseline, encoder, HEAD)(images[4:], samples[4:], mode="loss")
    for name in ("loss_ce", "loss_triplet"):
        torch.testing.assert_close(together[name], alone[name])
    norm = model.students[0].encoder.neck.bn
    assert norm.source.num_batches_tracked == norm.target.num_batches_tracked == 1
