"""EMATeacher: the moving average, its warm-up, and what becomes of batch-norm statistics."""

import pytest
import torch
from torch import nn

from mmreid_uda.models import EMATeacher
from mmreid_uda.models.layers import GhostBN
from mmreid_uda.utils import InputError


def scalar(value):
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(float(value))
    return layer


def trace(values, **options):
    """Teacher's value after each of the student's ``values``; it starts at 10."""
    student = scalar(10)
    teacher, found = EMATeacher(student, **options), []
    for step, value in enumerate(values):
        student.weight.data.fill_(float(value))
        teacher.update(student, step)
        found.append(teacher.module.weight.item())
    return found


def test_the_share_of_the_old_teacher_warms_up_as_published():
    teacher = EMATeacher(scalar(0))
    found = [teacher.decay(step) for step in (0, 1, 2, 3, 4, 998, 999, 5000)]
    assert found == pytest.approx([0, 0.5, 2 / 3, 0.75, 0.8, 0.998999, 0.999, 0.999], abs=1e-6)


def test_worked_examples_of_the_average():
    assert trace([3, 5, 4]) == pytest.approx([3, 4, 4], abs=1e-5)
    constant = trace([3, 5, 4], warmup=False)
    assert constant == pytest.approx([9.993, 9.988007, 9.982019], abs=1e-5)


def test_the_average_equals_a_slow_loop_over_all_parameters():
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    teacher = EMATeacher(student, alpha=0.6)
    expected = {name: p.detach().clone() for name, p in student.named_parameters()}
    for step in range(6):
        for parameter in student.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        share = min(1 - 1 / (step + 1), 0.6)
        for name, parameter in student.named_parameters():
            expected[name] = share * expected[name] + (1 - share) * parameter.detach()
        teacher.update(student, step)
    for name, parameter in teacher.module.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-5, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_alpha_zero_is_a_copy_after_every_step():
    assert trace([3, 5, 4], alpha=0.0) == [3, 5, 4]


@pytest.mark.parametrize("make_norm", [nn.BatchNorm1d, lambda n: GhostBN(n, samples_per_group=4)])
def test_batch_norm_statistics_follow_the_policy(make_norm):
    torch.manual_seed(1)
    student = nn.Sequential(make_norm(2))
    teachers = {policy: EMATeacher(student, buffers=policy) for policy in ("own", "copy", "ema")}
    alone = nn.Sequential(nn.BatchNorm1d(2))  # sees what the teachers see
    averaged = student[0].running_mean.clone()
    for step in range(4):
        first, second = torch.randn(2, 4, 2) * (step + 1)
        student(first)
        alone(second)
        averaged += (student[0].running_mean - averaged) / (step + 1)
        for teacher in teachers.values():
            teacher.module(second)
            teacher.update(student, step)
    expected = dict(own=alone[0], copy=student[0])
    for policy, layer in expected.items():
        found = teachers[policy].module[0]
        torch.testing.assert_close(found.running_mean, layer.running_mean)
        torch.testing.assert_close(found.running_var, layer.running_var)
    torch.testing.assert_close(teachers["ema"].module[0].running_mean, averaged)
    means = [teacher.module[0].running_mean for teacher in teachers.values()]
    assert not torch.allclose(means[0], means[1]) and not torch.allclose(means[1], means[2])


def test_a_teacher_normalizes_by_its_own_batch_in_training_and_has_no_graph():
    teacher = EMATeacher(nn.Sequential(nn.BatchNorm1d(2)))
    x = torch.randn(64, 2) * 5 + 3
    out = teacher.module(x)
    assert out.mean(0).abs().max() < 1e-5 and not out.requires_grad
    assert teacher.eval().module(x).mean() > 1


@pytest.mark.parametrize(
    "options, word", [(dict(alpha=1.5), "alpha"), (dict(buffers="none"), "buffers")]
)
def test_bad_options_are_refused(options, word):
    with pytest.raises(InputError, match=f"found {word}="):
        EMATeacher(scalar(0), **options)
