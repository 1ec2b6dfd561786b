"""PTL's losses, its head, classification and distillation, each against the worked figures and a slow loop."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from mutual_example import F1, LABELS

from mmreid_uda.evaluation.metrics import Accuracy
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import PTLHead
from mmreid_uda.models.layers import latent_cells
from mmreid_uda.models.losses import distillation, hard_triplet
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError

BLOCKS = [
    dict(out_layer="features.3", cells=[(4, 4)], fuse=8),
    dict(out_layer="features.18", cells=[(4, 4)], fuse=16),
]
TEACHER_LOGITS = torch.tensor([[1.5, 0.7, -0.5], [-1.0, 2.0, 0.5]])
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.3, 0.2, 0.1]])


def encoder(blocks=None, fuse=16):
    blocks = blocks or [dict(out_layer="features.18", fuse=fuse)]
    trunk = dict(type="MobileNetV2", width_mult=0.25)
    backbone = dict(type="SideNetworkBackbone", trunk=trunk, blocks=blocks)
    return dict(type="ReIDEncoder", backbone=backbone)


def build(kind, blocks=None, **options):
    torch.manual_seed(0)
    head = options.pop("head", dict(type="PTLHead", num_classes=3))
    return MODELS.build(dict(type=kind, encoder=encoder(blocks), head=head, **options))


def batch(count=4):
    images = torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    samples = ReIDDataSample(
        gt_label=torch.arange(count) // 2, domain=torch.zeros(count, dtype=torch.int64)
    )
    return images, samples


# ---- losses


def test_the_triplet_of_the_worked_example():
    assert hard_triplet(F1, LABELS, margin=1.2).item() == pytest.approx(0.701910, abs=1e-5)


def test_the_triplet_equals_a_slow_loop_on_uneven_classes():
    features = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 0, 0, 3, 3, 1, 1, 1, 1])
    hinges = []
    for i in range(9):
        d = [math.dist(features[i].tolist(), other.tolist()) for other in features]
        positive = max(d[j] for j in range(9) if labels[j] == labels[i])
        negative = min(d[j] for j in range(9) if labels[j] != labels[i])
        hinges.append(max(positive - negative + 0.3, 0))
    found = hard_triplet(features, labels, margin=0.3).item()
    assert found == pytest.approx(sum(hinges) / 9, abs=1e-5)
    with pytest.raises(InputError, match="margin=0"):
        build("PTLBaseline", margin=0)


def test_every_parameter_takes_part_without_cross_entropy():
    # DistributedDataParallel waits for the gradient of each.
    images, samples = batch()
    model = build("PTLBaseline", ce_weight=0)
    losses = model(images, samples, mode="loss")
    losses["loss_triplet"].backward()
    assert losses.keys() == {"loss_triplet"}
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


@pytest.mark.parametrize("temperature, expected", [(4.0, 0.428691), (1.0, 0.279401)])
def test_distillation_of_the_worked_example(temperature, expected):
    for student, loss in ((LOGITS, expected), (TEACHER_LOGITS, 0)):
        found = distillation(student, TEACHER_LOGITS, temperature=temperature)
        assert found.item() == pytest.approx(loss, abs=1e-5)


def test_distillation_equals_a_slow_loop_and_teaches_one_way():
    student, teacher = LOGITS.clone().requires_grad_(), TEACHER_LOGITS.clone().requires_grad_()
    total = 0.0
    for z, t in zip(LOGITS.tolist(), TEACHER_LOGITS.tolist()):
        p, q = ([math.exp(v / 2) for v in values] for values in (t, z))
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        total += 4 * sum(a * math.log(a / b) for a, b in zip(p, q))
    loss = distillation(student, teacher, temperature=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(total / 2, abs=1e-5)
    assert student.grad.abs().sum() > 0 and teacher.grad is None


# ---- the head


def test_the_head_is_the_mean_over_parts_and_over_global_features():
    torch.manual_seed(0)
    model = build("PTLBaseline", margin=0.5)
    model.head = head = PTLHead(in_channels=5, num_branches=4, num_classes=6, num_globals=2)
    out = EncoderOutput(pooled=torch.randn(4, 10), embedding=torch.randn(4, 20))
    labels = torch.tensor([0, 0, 2, 2])
    losses = model.loss_source(head(out), ReIDDataSample(gt_label=labels))
    entropies = [
        F.cross_entropy(head.classifiers[p](out.embedding[:, 5 * p : 5 * p + 5]), labels)
        for p in range(4)
    ]
    triplets = [
        hard_triplet(out.pooled[:, 5 * g : 5 * g + 5], labels, margin=0.5) for g in range(2)
    ]
    assert losses["loss_ce"].item() == pytest.approx(sum(entropies).item() / 4, abs=1e-6)
    assert losses["loss_triplet"].item() == pytest.approx(sum(triplets).item() / 2, abs=1e-6)


def test_the_data_say_how_many_classes_there_are_also_after_loading():
    head, other = PTLHead(5, num_branches=2), PTLHead(5, num_branches=2, num_classes=6)
    head.set_num_classes(3, seed=1)
    other.load_state_dict(head.state_dict())
    out = EncoderOutput(torch.randn(2, 5), torch.randn(2, 10))
    assert head(out).logits.shape == (2, 2, 3) and torch.equal(head(out).logits, other(out).logits)
    assert other.num_classes == other.classifiers[1][-1].out_features == 3
    first, second = (layers[-1].weight for layers in head.classifiers)
    assert not torch.equal(first, second), "each part starts with rows of its own"
    # A checkpoint of version 0.1: 4096 rows, of which three took part.
    old = {name: torch.randn(7, *rows.shape[1:]) for name, rows in head.state_dict().items()}
    other.load_state_dict({**old, "active": torch.tensor(3)})
    assert torch.equal(other.classifiers[0][0].weight, old["classifiers.0.0.weight"][:3])
    assert torch.equal(other.classifiers[1][0].bias, old["classifiers.1.0.bias"][:3])


def test_hidden_layers_stand_before_each_classifier():
    head = PTLHead(5, num_branches=2, num_classes=6, hidden=(8, 7))
    shapes = [tuple(p.shape) for p in head.classifiers[1].parameters()]
    assert shapes == [(8, 5), (8,), (7, 8), (7,), (6, 7), (6,)]


def test_mgn_with_751_classes_has_eight_classifiers_with_bias():
    head = PTLHead(256, num_branches=8, num_classes=751)
    assert sum(p.numel() for p in head.parameters()) == 8 * (256 * 751 + 751)


@pytest.mark.parametrize("init, side", [("fan_in", 1), ("fan_out", 0)])
@pytest.mark.parametrize("hidden", [(), (128, 64)])
def test_classifiers_start_kaiming_normal_without_bias(hidden, init, side):
    torch.manual_seed(0)
    head = PTLHead(256, num_branches=2, num_classes=1000, hidden=hidden, init=init)
    for layers in head.classifiers:
        linears = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
        assert len(linears) == len(hidden) + 1
        for layer in linears:
            weight = layer.weight
            assert weight.std().item() == pytest.approx((2 / weight.shape[side]) ** 0.5, rel=0.03)
            assert weight.abs().max() > 3 * weight.std(), "uniform numbers end before"
            assert not layer.bias.any()


def test_an_unknown_start_of_the_classifiers_is_refused():
    with pytest.raises(InputError, match="init='fan'"):
        PTLHead(5, init="fan")


# ---- algorithms


def test_ptl_wants_cells_and_tests_both_flips():
    with pytest.raises(InputError, match=r"found no BConvCell in the encoder of PTL"):
        build("PTL")
    model = build("PTL", BLOCKS).eval()
    images, _ = batch()
    features = model(images)
    torch.testing.assert_close(features, model(images.flip(-1)))
    both = model.encoder(images).embedding + model.encoder(images.flip(-1)).embedding
    torch.testing.assert_close(features, F.normalize(both))


def test_the_features_of_ptl_do_not_depend_on_the_batch():
    model = build("PTL", BLOCKS)
    images, samples = batch(6)
    model(images, samples, mode="loss")
    model.eval()
    together = model(images)
    alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pack", ["tensor", "samples", "list"])
def test_a_classifier_reads_labels_however_they_are_packed(pack):
    model = build("ImageClassifier")
    images, samples = batch()
    labels = samples.gt_label
    packed = {
        "tensor": labels,
        "samples": ReIDDataSample(gt_label=labels),
        "list": [BaseDataElement(gt_label=label.reshape(1)) for label in labels],
    }[pack]
    losses = model(images, packed, mode="loss")
    model.eval()
    [answer] = model(images, packed, mode="predict")
    assert list(losses) == ["loss_ce"] and torch.equal(answer.gt_label, labels)
    torch.testing.assert_close(answer.scores.sum(1), torch.ones(4))
    logits = model.head.classifiers[0](model.encoder(images).embedding)
    torch.testing.assert_close(answer.scores, logits.softmax(1))


def test_accuracy_counts_the_classes_that_score_higher():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.2, 0.3, 0.5]])
    metric = Accuracy(topk=(1, 2))
    for rows in (slice(3), slice(3, None)):
        metric.process(None, [dict(scores=scores[rows], gt_label=torch.tensor([0, 1, 1, 0])[rows])])
    assert metric.evaluate(4) == {"accuracy/top1": 25.0, "accuracy/top2": 75.0}
    with pytest.raises(InputError, match=r"topk(\[0\])?="):
        Accuracy(topk=(0,))


def test_an_image_that_ties_with_another_class_is_not_right():
    metric = Accuracy(topk=(1, 3))
    scores = torch.tensor([[1.0, 1.0, 1.0], [0.4, 0.4, 0.2], [0.3, 0.3, 0.4]])
    metric.process(None, [dict(scores=scores, gt_label=torch.tensor([0, 1, 2]))])
    found = metric.evaluate(3)
    assert found == {"accuracy/top1": pytest.approx(100 / 3), "accuracy/top3": 100.0}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_one_sentence(value):
    scores = torch.full((4, 3), 0.2)
    scores[1, 2] = scores[3, 0] = value
    with pytest.raises(InputError, match="NaN or infinite scores for 2 of 4 images"):
        Accuracy().process(None, [dict(scores=scores, gt_label=torch.zeros(4, dtype=int))])


def test_a_target_is_refused_where_it_would_write_into_the_cells():
    images, samples = batch(6)
    samples.domain[4:] = 1
    model = build("PTL", BLOCKS)
    with pytest.raises(InputError, match=r"found 2 target images .* target=None"):
        model(images, samples, mode="loss")
    assert all(not cell.state.numel() for cell in latent_cells(model))
    assert build("PTLBaseline")(images, samples, mode="loss").keys() == {"loss_ce", "loss_triplet"}


# ---- distillation


def teacher(tmp_path, **options):
    model = build("PTL", BLOCKS, **options)
    torch.save(model.state_dict(), tmp_path / "teacher.pth")
    head = options.get("head", dict(type="PTLHead", num_classes=3))
    cfg = dict(type="PTL", encoder=encoder(BLOCKS), head=head)
    return model, dict(model=cfg, checkpoint=str(tmp_path / "teacher.pth"))


def test_std_is_the_students_loss_and_what_the_teacher_says(tmp_path):
    source, cfg = teacher(tmp_path)
    torch.manual_seed(5)
    model = build("STD", teacher=cfg, kd_weight=0.7, feature_weight=0.3, temperature=2.0)
    model.init_weights()
    plain = build("PTLBaseline")
    plain.load_state_dict(model.state_dict())
    images, samples = batch()
    losses = model(images, samples, mode="loss")
    expected = plain(images, samples, mode="loss")
    student, taught = plain.encoder(images), source.eval().encoder(images)
    logits = plain.head(student).logits, source.head(taught).logits
    kd = distillation(*logits, temperature=2.0)
    gaps = F.normalize(student.embedding) - F.normalize(taught.embedding)
    expected["loss_kd"] = 0.7 * kd
    expected["loss_feature"] = 0.3 * (gaps**2).sum(1).mean()
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, msg=name)


def test_the_teacher_is_not_part_of_the_student(tmp_path):
    source, cfg = teacher(tmp_path)
    model = build("STD", teacher=cfg)
    model.init_weights()
    plain = build("PTLBaseline")
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    model.train()
    losses = model(*batch(), mode="loss")
    sum(losses.values()).backward()
    network = model.teacher.network
    assert not network.training and all(p.grad is None for p in network.parameters())
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.teacher.network.state_dict()[name], tensor), name
    assert next(model.double().teacher.network.parameters()).dtype == torch.float64


def test_a_teacher_of_several_parts_teaches_each_part_of_the_student(tmp_path):
    head = dict(type="PTLHead", num_classes=3, num_globals=1)
    _, cfg = teacher(tmp_path)
    model = build("STD", teacher=cfg, head=head)
    model.teacher.network.head.classify = lambda embedding: torch.stack([TEACHER_LOGITS, -LOGITS])
    model.head.classify = lambda embedding: LOGITS[None].clone()
    images, samples = batch(2)
    samples.gt_label = torch.tensor([0, 1])
    found = model(images, samples, mode="loss")["loss_kd"]
    expected = distillation(LOGITS, (TEACHER_LOGITS - LOGITS) / 2, temperature=4.0)
    torch.testing.assert_close(found, expected)


def test_a_pair_that_does_not_fit_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="temperature=0"):
        build("STD", teacher=teacher(tmp_path)[1], temperature=0)
    _, cfg = teacher(tmp_path, head=dict(type="PTLHead", num_classes=5))
    model = build("STD", teacher=cfg)
    model.init_weights()
    with pytest.raises(InputError, match=r"found 3 classes in the student's data and 5"):
        model(*batch(), mode="loss")
    with pytest.raises(InputError, match=r"found 3 classes in the student's data and 5"):
        model.on_source(3)  # before training
    wide = dict(type="STD", encoder=encoder(fuse=24), head=dict(type="PTLHead"), teacher=cfg)
    with pytest.raises(InputError, match=r"24 dimensions in the student and 16"):
        MODELS.build(wide)
    missing = dict(cfg, checkpoint="work_dirs/ptl_mbv2_digits-seed9")
    with pytest.raises(InputError, match=r"train.py ptl_mbv2_digits --seed 9"):
        build("STD", teacher=missing).init_weights()


def test_a_teacher_learns_nothing_by_chance(tmp_path):
    """Each of its tensors comes from the checkpoint, other than the size of what the cells remember."""
    source, cfg = teacher(tmp_path)
    source(*batch(), mode="loss")
    torch.save({"state_dict": source.state_dict()}, cfg["checkpoint"])
    model = build("STD", teacher=cfg)
    model.init_weights()
    for name, tensor in source.state_dict().items():
        assert torch.equal(model.teacher.network.state_dict()[name], tensor), name

    # The checkpoint of cells of another width, of more cells, of none.
    wide = [dict(BLOCKS[0], cells=[(6, 4)]), BLOCKS[1]]
    more = [BLOCKS[0], dict(out_layer="features.6", cells=[(4, 2)], fuse=8), BLOCKS[1]]
    for other, misfits in (
        (build("PTL", wide), "0 are missing, 2 have another shape, 0 are foreign"),
        (build("PTL", more), "0 are missing, 6 have another shape, 9 are foreign"),
        (build("PTLBaseline"), "10 are missing, 6 have another shape, 0 are foreign"),
    ):
        torch.save(other.state_dict(), cfg["checkpoint"])
        student = build("STD", teacher=cfg)
        with pytest.raises(InputError, match=f"{misfits}.*model.teacher.config"):
            student.init_weights()
