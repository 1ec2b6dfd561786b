"""The search over hyper-parameters, with a training that takes no time in the place of tools/train.py."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mmreid_uda.utils import InputError

optuna = pytest.importorskip("optuna")

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "ise" / "ise_mbv2_synthb.py")
LR, EPS = "optim_wrapper.optimizer.lr", "clusterer.eps"
# The best eps is 0.6. Files beside the study make the training fail, or cut it off.
TRAINING = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--work-dir") + 1])
values = dict(one.split("=") for one in sys.argv[sys.argv.index("--cfg-options") + 1:])
with (folder / "calls").open("a") as file:
    print(*sys.argv[1:], file=file)
if (folder.parent / "stop").exists():
    sys.exit(130)
if (folder.parent / "fail").exists():
    sys.exit("error: the loss is not finite")
score = 100 - 100 * abs(float(values["clusterer.eps"]) - 0.6)
epochs = {"2": {"synthb/mAP": 0.0}, "10": {"synthb/mAP": score, "synthb/R1": 1.0}}
(folder / "results.json").write_text(json.dumps(dict(last_epoch=10, epochs=epochs)))
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "search_hparams", ROOT / "tools" / "search_hparams.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "train.py").write_text(TRAINING)
    monkeypatch.setattr(module, "TOOLS", tmp_path / "tools")
    return module


@pytest.fixture
def run(tool, tmp_path, monkeypatch):
    """Search from the command line, in a folder of this name; returns the study's trials."""

    def call(name, trials, *more, eps="0.4:0.7", lr="log:1e-5:1e-3", metric="synthb/mAP"):
        arguments = [CONFIG, "--metric", metric, "--trials", str(trials), *more]
        arguments += ["--work-dir", str(tmp_path / name), "--space", f"{EPS}={eps}", f"{LR}={lr}"]
        monkeypatch.setattr(sys, "argv", ["search_hparams.py", *arguments])
        tool.main()
        storage = f"sqlite:///{tmp_path / name / 'study.db'}"
        return optuna.load_study(study_name="search", storage=storage).trials

    return call


def test_a_search_that_is_cut_off_and_continued_is_the_one_in_one_go(run, tmp_path, capsys):
    run("parts", 1)
    (tmp_path / "parts" / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        run("parts", 3)
    (tmp_path / "parts" / "stop").unlink()
    parts, whole = run("parts", 3), run("whole", 3)
    assert [(one.params, one.value) for one in parts] == [(one.params, one.value) for one in whole]
    assert [path.name for path in sorted((tmp_path / "parts").glob("trial_*"))] == [
        f"trial_00{place}" for place in range(3)
    ]
    # The training that was cut off goes on in its folder, with its values.
    first, second = (tmp_path / "parts" / "trial_001" / "calls").read_text().splitlines()
    assert first == second and "--resume" in first
    # The best trial has the highest score of the last epoch, and its values are the command that is printed.
    best = max(whole, key=lambda one: one.value)
    note, *_, result, command = capsys.readouterr().out.splitlines()
    assert len(whole) == 3 and best.value > 60
    assert result == f"best: trial {best.number}, synthb/mAP {best.value:.2f}"
    assert f"{EPS}={best.params[EPS]} {LR}={best.params[LR]}" in command
    assert note.startswith("Note: synthb/mAP is measured on the target's test set")


def test_a_trial_is_a_training_with_the_common_options_and_flags(run, tmp_path):
    run("study", 1, "--amp", "--cfg-options", "iters_per_epoch=3", lr="choice:1e-4", eps="0.5:0.5")
    [call] = (tmp_path / "study" / "trial_000" / "calls").read_text().splitlines()
    assert call.split()[3:] == [
        "--resume", "--amp", "--cfg-options", "iters_per_epoch=3", f"{EPS}=0.5", f"{LR}=1e-4",
    ]  # fmt: skip


def test_a_failed_trial_does_not_end_the_search(run, tmp_path, capsys):
    run("study", 1, eps="0.5:0.5")
    (tmp_path / "study" / "fail").touch()
    assert [one.value for one in run("study", 2, eps="0.5:0.5")] == [pytest.approx(90), None]
    assert "failed: error: the loss is not finite" in capsys.readouterr().out
    (tmp_path / "hopeless").mkdir()
    (tmp_path / "hopeless" / "fail").touch()
    with pytest.raises(InputError, match=r"all 1 trials failed.*train\.log"):
        run("hopeless", 1)


def test_another_search_in_the_same_folder_is_refused(run):
    run("study", 1)
    with pytest.raises(InputError, match=r"with space \['clusterer.eps=0.4:0.7'.*--work-dir"):
        run("study", 2, eps="0.5:0.7")


def test_a_misspelled_key_or_an_unknown_metric_stops_the_search(run, tmp_path):
    with pytest.raises(InputError, match="wieght_decay"):
        run("study", 1, "--cfg-options", "optim_wrapper.optimizer.wieght_decay=0")
    assert not (tmp_path / "study").exists()
    for metric in ("market1501/mAP", "mAP", "clusters/nmi"):
        with pytest.raises(InputError, match=f"{metric}, expected a figure of synthb/..., cluster"):
            run("study", 1, metric=metric)
    options = ("--cfg-options", "relabel.save_labels=False")
    with pytest.raises(InputError, match=r"cluster/nmi, expected.*relabel\.save_labels=True"):
        run("study", 1, *options, metric="cluster/nmi")
    with pytest.raises(InputError, match=r"`eps`, which nothing reads.*clusterer\.eps"):
        run("study", 1, "--cfg-options", "eps=0.3")
    with pytest.raises(SystemExit):
        run("study", 0)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "wrong, right, value", [("cluster/nmmi", "synthb/mAP", 100), ("synthb/map", "synthb/R1", 1)]
)
def test_a_metric_can_be_corrected_until_a_trial_has_ended(run, tmp_path, wrong, right, value):
    with pytest.raises(InputError, match=r"found no pseudo-labels|expected one of synthb/mAP"):
        run("study", 1, eps="0.6:0.6", metric=wrong)
    # The right metric is read from the training that is there.
    [trial] = run("study", 1, eps="0.6:0.6", metric=right)
    assert trial.value == value
    first, second = (tmp_path / "study" / "trial_000" / "calls").read_text().splitlines()
    assert first == second
    with pytest.raises(InputError, match=f"with metric '{right}', expected 'synthb/R5'"):
        run("study", 2, eps="0.6:0.6", metric="synthb/R5")


@pytest.mark.parametrize(
    "text, values",
    [
        ("0.4:0.7", (0.4, 0.7, False, None)),
        ("0:1:0.25", (0, 1, False, 0.25)),
        ("log:1e-5:1e-3", (1e-5, 1e-3, True, None)),
        ("4:16:4", (4, 16, False, 4)),
        ("log:1:64", (1, 64, True, 1)),
    ],
)
def test_ranges_are_read(tool, text, values):
    [one] = tool.read_space([f"a.b={text}"]).values()
    assert (one.low, one.high, one.log, one.step) == values


def test_choices_may_be_tuples(tool):
    [one] = tool.read_space(["input_size=choice:(96,48),(64,32)"]).values()
    assert one.choices == ("(96,48)", "(64,32)")
    assert tool.as_options({"input_size": one.choices[0], "lr": 1e-5}) == [
        "input_size=(96,48)",
        "lr=1e-05",
    ]


@pytest.mark.parametrize(
    "items",
    [
        ["lr"],
        ["lr=3"],
        ["lr=5:3"],
        ["lr=a:b"],
        ["lr=log:1:2:3"],
        ["lr=nan:1"],
        ["lr=0:inf"],
        ["a=1:2", "a=1:2"],
    ],
)
def test_other_texts_are_refused(tool, items):
    with pytest.raises(InputError, match="expected"):
        tool.read_space(items)


def test_figures_of_the_pseudo_labels_are_metrics(tool, tmp_path):
    folder = tmp_path / "pseudo_labels"
    with pytest.raises(InputError, match="found no pseudo-labels"):
        tool.read_metric(tmp_path, "cluster/nmi")
    folder.mkdir()
    for epoch, value in ((1, 0.2), (2, 0.9)):
        np.savez(folder / f"epoch_00{epoch}.npz", statistics=np.array(json.dumps(dict(nmi=value))))
    assert tool.read_metric(tmp_path, "cluster/nmi") == 0.9


@pytest.mark.parametrize(
    "metric, words",
    [
        ("synthb/mAP", "not unsupervised"),
        ("cluster/nmi", "not unsupervised"),
        ("cluster/outlier_ratio", ""),
        ("syntha/mAP", ""),
    ],
)
def test_metrics_that_use_labels_of_the_target_are_named(tool, metric, words):
    cfg = tool.check_config(CONFIG, {}, ["test=syntha,synthb"])
    assert tool.caution(cfg, metric).endswith(f"{words}." if words else "")
    assert bool(tool.caution(cfg, metric)) == bool(words)
