"""What happens around mean teachers, inside a real Runner: averages, fresh optimisers, schedules, figures."""

import json

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.hooks import EMAHook, EveryTeacherHook, OptimizerResetHook, SourceClassesHook
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.slow

MMT = "configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py"
ABMT = "configs/abmt/abmt_mbv2_syntha2synthb.py"
SOURCE = "configs/source/source_mbv2_syntha2synthb.py"
RATE = 3.5e-4
# Twelve rendered people of another domain.
PEOPLE = "num_train_ids=12, num_test_ids=6, images_per_id=6"
SMALL_SOURCE = f"source = dict(_delete_=True, name='syntha', {PEOPLE})\n"
TESTS = f"test = [dict(name=name, {PEOPLE}) for name in ('synthb', 'syntha')]\n"


def make_runner(tiny, tmp_path, base, **options):
    options = {
        "work_dir": str(tmp_path / "run"),
        "stage1": None,
        "train_cfg.max_epochs": 2,
        "train_cfg.val_interval": 2,
        "default_hooks.report": None,
        "iters_per_epoch": 3,
        **options,
    }
    extra = SMALL_SOURCE + TESTS if base == ABMT else ""
    return build_runner(load_config(tiny(base, extra=extra), options))


class Watch(Hook):
    """Follows students and teachers with a slow average of its own."""

    priority = "LOWEST"

    def __init__(self):
        self.moments, self.apart, self.steps = [], [], 0

    def before_train(self, runner):
        self.expected = self._copy(runner.model.students)

    def before_train_epoch(self, runner):
        # New rows of the classifier come from outside: take them over.
        for key, tensor in self._copy([t.module for t in runner.model.teachers]).items():
            if "head.weight" in key:
                self.expected[key] = tensor
        self.moments.append(len(runner.optim_wrapper.optimizer.state))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        share = min(1 - 1 / (self.steps + 1), 0.999)
        for key, tensor in self._copy(runner.model.students).items():
            self.expected[key] = share * self.expected[key] + (1 - share) * tensor
        self.steps += 1
        found = self._copy([teacher.module for teacher in runner.model.teachers])
        self.apart.append(max(float((found[k] - self.expected[k]).abs().max()) for k in found))

    @staticmethod
    def _copy(networks):
        return {
            f"{number}.{name}": parameter.detach().clone()
            for number, network in enumerate(networks)
            for name, parameter in network.named_parameters()
        }


@pytest.mark.parametrize("base", [MMT, ABMT])
def test_teachers_follow_and_every_epoch_starts_with_a_fresh_optimizer(tiny, tmp_path, base):
    runner = make_runner(tiny, tmp_path, base)
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    assert watch.steps == 6 and max(watch.apart) < 1e-5
    assert watch.moments == [0, 0] and len(runner.optim_wrapper.optimizer.state) > 100


def test_teachers_move_when_accumulated_gradients_do(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, ABMT, **{"optim_wrapper.accumulative_counts": 3})
    seen = []
    runner.model.update_teachers = seen.append
    runner.train()
    assert seen == [0, 1]


def test_diversity_is_logged_every_epoch_and_each_teacher_at_the_end(tiny, tmp_path):
    make_runner(tiny, tmp_path, MMT).train()
    [log] = (tmp_path / "run").glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = [line for line in lines if "diversity/teacher" in line]
    assert [line["step"] for line in epochs] == [1, 2]
    for line in epochs:
        names = ("diversity/teacher", "diversity/supervision", "diversity/branches")
        assert all(0 <= line[name] <= 2 for name in names)
    assert epochs[0]["diversity/supervision"] > epochs[0]["diversity/teacher"]
    [last] = [line for line in lines if "teacher_1/synthb/mAP" in line]
    assert 0 < last["teacher_1/synthb/mAP"] <= 100 and 0 < last["teacher_2/synthb/mAP"] <= 100


def test_each_teacher_is_evaluated_on_request_and_always_at_the_end(tiny, tmp_path):
    options = {
        "train_cfg.val_interval": 1,
        "train_cfg.max_epochs": 3,
        "default_hooks.report": dict(type="ReportHook"),
        "default_hooks.every_teacher.interval": 2,
        "iters_per_epoch": 1,
    }
    runner = make_runner(tiny, tmp_path, MMT, **options)
    runner.train()
    epochs = json.loads((tmp_path / "run" / "results.json").read_text())["epochs"]
    assert list(epochs) == ["0", "1", "2", "3"] and runner.model.network == "teacher"
    noted = [epoch for epoch in epochs if "teacher_1/synthb/mAP" in epochs[epoch]]
    assert noted == ["0", "2", "3"]
    # The figures of the last epoch are those of each teacher when it is asked alone.
    for number in (1, 2):
        runner.model.network = number
        alone = runner.val_loop.run()
        assert alone["synthb/mAP"] == epochs["3"][f"teacher_{number}/synthb/mAP"]
    assert next(iter(epochs["3"])) == "synthb/mAP", "the best checkpoint is chosen by the first"


def test_an_interval_below_one_is_refused():
    with pytest.raises(InputError, match="interval=0 for EveryTeacherHook"):
        EveryTeacherHook(0)


def test_a_source_run_opens_its_classifier_and_tests_both_domains(tiny, tmp_path):
    extra = SMALL_SOURCE + TESTS + "num_instances = dict(source=4, target=0)\n"
    path = tiny(SOURCE, extra=extra + "default_hooks.pop('cluster')\n")
    options = {
        "work_dir": str(tmp_path / "run"),
        "train_cfg.max_epochs": 1,
        "train_cfg.val_interval": 1,
    }
    runner = build_runner(load_config(path, options))
    runner.train()
    assert runner.model.head.num_classes == 12
    results = json.loads((tmp_path / "run" / "results.json").read_text())["epochs"]
    assert {"synthb/mAP", "syntha/mAP"} <= results["1"].keys()


@pytest.mark.parametrize(
    "config, rates",
    [
        (
            "source_r50_duke2market",
            [3.5e-6, 3.815e-5, 7.28e-5, 1.0745e-4, 1.421e-4, 1.7675e-4, 2.807e-4, 3.1535e-4, RATE],
        ),
        (
            "source-mmt_r50_duke2market",
            [3.815e-5, 7.28e-5, 1.0745e-4, 1.421e-4, 1.7675e-4, 2.114e-4, 3.1535e-4, RATE, RATE],
        ),
    ],
)
def test_the_warm_up_is_the_published_table(config, rates):
    cfg = load_config(f"configs/source/{config}.py")
    layer = nn.Linear(1, 1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=cfg.optim_wrapper.optimizer.lr)
    wrapper = OptimWrapper(optimizer)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one, optimizer=wrapper)) for one in cfg.param_scheduler
    ]
    found = []
    for _ in range(80):
        found.append(optimizer.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    epochs = [0, 1, 2, 3, 4, 5, 8, 9, 10]
    assert [found[epoch] for epoch in epochs] == pytest.approx(rates, rel=1e-5)
    # The milestones 40 and 70, asked with the number of the epoch (ABMT), or of the next one (MMT).
    first = 40 - ("mmt" in config)
    for epoch, rate in (
        (first - 1, RATE), (first, RATE / 10), (first + 29, RATE / 10), (first + 30, RATE / 100)
    ):  # fmt: skip
        assert found[epoch] == pytest.approx(rate, rel=1e-5)


def test_models_without_teachers_are_refused(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, "configs/mmt/cluster-baseline_mbv2_syntha2synthb.py")
    with pytest.raises(InputError, match="ClusterBaseline has no teachers"):
        EMAHook().before_train(runner)
    with pytest.raises(InputError, match="found no labelled source"):
        SourceClassesHook().before_train(runner)


def test_the_learning_rate_survives_the_fresh_optimizer(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, ABMT)
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    runner.optim_wrapper = OptimWrapper(optimizer)
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.state[next(runner.model.parameters())]["step"] = torch.tensor(1.0)
    runner.train_loop._epoch = 3
    OptimizerResetHook(interval=2).before_train_epoch(runner)
    assert optimizer.state, "in the middle of a round"
    OptimizerResetHook(interval=3).before_train_epoch(runner)
    assert not optimizer.state and optimizer.param_groups[0]["lr"] == 0.5
    with pytest.raises(InputError, match="interval=0"):
        OptimizerResetHook(interval=0)
