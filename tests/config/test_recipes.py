"""The published recipes beside the released scripts: what each key was there, and what the config resolves to here.

``pytest -s tests/test_recipes.py`` prints the table. What is meant to differ from the released code stands on the pages
of the methods, with the switch that undoes it.
"""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from PIL import Image
from test_all_configs import CONFIGS, for_a_cpu, project_of
from torch import nn

from mmreid_uda.config import find_model, load_config
from mmreid_uda.models.encoders import MGNEncoder
from mmreid_uda.models.heads import ClassifierHead, PTLHead
from mmreid_uda.models.layers import support_samples
from mmreid_uda.registry import HOOKS, TRANSFORMS
from mmreid_uda.structures import PseudoLabelState

# Recipes of the papers; the small ones for CPUs, and projects that show how a project looks, have values of their own.
PUBLISHED = [name for name in CONFIGS if not for_a_cpu(name)]
ROWS = []


@pytest.fixture(scope="module", autouse=True)
def _print_the_table():
    yield
    widths = [max(map(len, column)) for column in zip(*ROWS)]
    print("\n" + "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in ROWS))


def compare(item, where, key, released, resolved):
    """Note a row of the table, and hold its two values against each other."""
    ROWS.append((item, where, key, str(released), str(resolved)))
    assert resolved == released, f"{item} {where}: {key}"


@cache
def resolve(path):
    """The config as a run reads it."""
    return load_config(path)


def folders(paths):
    """Recipes by the folder of their paper."""
    found = {}
    for path in paths:
        found.setdefault(project_of(path), []).append(path)
    return found.items()


def rates(cfg, num_epochs):
    """Learning rate of every epoch, in the order in which they are trained."""
    options = {key: value for key, value in cfg.optim_wrapper.optimizer.items() if key != "type"}
    optimizer = torch.optim.Adam(nn.Linear(1, 1).parameters(), **options)
    optimizer.step()
    schedulers = [
        PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer)) for one in cfg.param_scheduler
    ]
    found = []
    for _ in range(num_epochs):
        found.append(optimizer.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder, paths", folders(PUBLISHED), ids=lambda one: one if isinstance(one, str) else ""
)
def test_r1_images_are_resized_by_pillow_everywhere(folder, paths):
    found = set()
    for path in paths:
        cfg = resolve(path)
        pipelines = [cfg.train_pipeline, cfg.test_pipeline]
        if "val_dataloader" in cfg:
            pipelines.append(cfg.val_dataloader.dataset.pipeline)
        if "clusterer" in cfg.default_hooks.get("cluster", {}):
            pipelines.append(cfg.default_hooks.cluster.pipeline)
        for pipeline in pipelines:
            [step] = [one for one in pipeline if one.type == "Resize"]
            found.add((step.get("backend", "cv2"), step.get("interpolation", "bilinear")))
    compare("R1", f"{folder} ({len(paths)} recipes)", "Resize", {("pillow", "bicubic")}, found)


@pytest.mark.parametrize("size", [(128, 64), (512, 200), (768, 300)])
def test_r1_a_resized_crop_is_that_of_pil(size):
    cfg = resolve("configs/ise/ise_r50_market.py")
    crop = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    [step] = [one for one in cfg.test_pipeline if one.type == "Resize"]
    ours = TRANSFORMS.build(step)({"img": crop[..., ::-1]})["img"]
    released = np.asarray(Image.fromarray(crop).resize((128, 256), 3))
    difference = np.abs(ours[..., ::-1].astype(int) - released).max()
    compare("R1", f"a crop of {size[0]}x{size[1]}", "difference to PIL, grey levels", 0, difference)


@pytest.mark.slow
def test_r2_every_recipe_of_mmt_stands_on_its_own_source_stage():
    runs = {}
    for path in PUBLISHED:
        if project_of(path) == "mmt":
            stage1 = resolve(path).stage1
            runs[path] = [stage1] if isinstance(stage1, str) else list(stage1)
    kinds = {Path(run).name.split("_")[0] for found in runs.values() for run in found}
    compare("R2", f"mmt ({len(runs)} recipes)", "stage1", {"source-mmt"}, kinds)
    for path, found in runs.items():
        _, backbone, data = Path(path).stem.split("_")
        for run in found:
            source, _, _ = Path(run).name.partition("-seed")
            assert source == f"source-mmt_{backbone}_{data}"
            assert find_model(source).file.parent.name == "source"
    for backbone in ("r50", "r50-ibn"):
        cfg = resolve(f"source-mmt_{backbone}_market2duke")
        where = f"source-mmt_{backbone}"
        compare("R2", where, "iterations per epoch", 100, cfg.iters_per_epoch)
        found = rates(cfg, 80)
        published = [3.815e-05, 7.28e-05, 0.00010745, 0.0001421]
        compare(
            "R2", where, "rate of epochs 0..3", published, [float(f"{r:.5g}") for r in found[:4]]
        )
        drops = [e for e in range(11, 80) if found[e] < 0.5 * found[e - 1]]
        compare("R2", where, "rate drops before epochs", [39, 69], drops)


@pytest.mark.slow
def test_r3_nothing_is_clustered_again_for_its_outliers():
    for folder, paths in folders(PUBLISHED):
        limits = set()
        for path in paths:
            hook = resolve(path).default_hooks.get("cluster")
            if hook is not None and folder != "spcl":  # there every outlier is a class of its own
                limits.add(HOOKS.build(hook).max_outlier_ratio)
        if limits:
            compare("R3", folder, "largest share of outliers", {1.0}, limits)


@pytest.mark.parametrize(
    "path, rho, frozen",
    [
        ("configs/mmt/mmt-dbscan_r50_duke2market.py", 1.6e-3, True),
        ("configs/abmt/abmt_r50_duke2market.py", 2e-3, False),
        ("configs/abmt/abmt-usl_r50_market.py", 2e-3, False),
    ],
)
def test_r4_the_rule_of_rho_counts_pairs_near_zero(path, rho, frozen):
    clusterer = resolve(path).default_hooks.cluster.clusterer
    found = (clusterer.eps, clusterer.rho, clusterer.near_zero, clusterer.get("freeze_eps", False))
    expected = ("rho", rho, "count", frozen)
    compare("R4", Path(path).stem, "eps, rho, pairs near 0, frozen", expected, found)


def test_r5_the_strong_baselines_classifier_starts_as_a_linear_layer():
    options = dict(resolve("configs/strong_baseline/strong-baseline_r50_duke2market.py").model.head)
    assert options.pop("type") == "ClassifierHead"
    head = ClassifierHead(in_channels=2048, **options)
    labels = torch.arange(40) // 4
    head.on_relabel(PseudoLabelState(epoch=0, labels=labels, features=torch.randn(40, 2048)))
    rows = head.weight[0, :10].detach()
    released = nn.Linear(2048, 10, bias=False).weight.detach()
    for name, value in (("largest", torch.amax), ("deviation", torch.std)):
        expected, found = (
            round(float(value(one.abs() if name == "largest" else one)), 3)
            for one in (released, rows)
        )
        compare("R5", "strong-baseline", f"classifier rows, {name}", expected, found)


def test_r6_ptls_rate_drops_after_320_360_and_400_epochs():
    cfg = resolve("configs/ptl/mgn-ptl_r50_market.py")
    epochs = Counter(f"{rate:.0e}" for rate in rates(cfg, cfg.train_cfg.max_epochs))
    released = {"2e-04": 320, "2e-05": 40, "2e-06": 40, "2e-07": 50}
    compare("R6", "mgn-ptl", "epochs at each rate", released, dict(epochs))


@pytest.mark.parametrize(
    "path, deviation, bias",
    [
        ("configs/ptl/mgn_r50_market.py", (2 / 751) ** 0.5, False),
        ("configs/ptl/mgn-ptl_r50_market.py", (2 / 256) ** 0.5, True),
    ],
)
def test_r7_mgn_starts_as_released(path, deviation, bias):
    cfg = resolve(path)
    head = {key: value for key, value in cfg.model.head.items() if key != "type"}
    head = PTLHead(256, **head)
    head.set_num_classes(751)
    classifier = head.classifiers[0][-1].weight
    with torch.device("meta"):
        encoder = MGNEncoder(**{key: value for key, value in cfg.encoder.items() if key != "type"})
    where = Path(path).stem
    compare(
        "R7",
        where,
        "deviation of classifiers",
        round(deviation, 3),
        round(classifier.std().item(), 3),
    )
    compare("R7", where, "bias of the 1x1 convolution", bias, encoder.reduce[0].bias is not None)


def test_r8_meb_nets_source_stage_normalizes_32_images():
    for data in ("duke2market", "market2duke"):
        cfg = resolve(f"source-meb_r50_{data}")
        group = cfg.model.encoder.norm.samples_per_group
        compare("R8", f"source-meb_r50_{data}", "batch-norm group", 32, group)
        runs = resolve(f"mebnet_r50_{data}").stage1
        found = {Path(run).name.partition("-seed")[0] for run in runs}
        compare("R8", f"mebnet_r50_{data}", "stage1", {f"source-meb_r50_{data}"}, found)


def test_r9_the_supports_of_an_image_stand_together():
    k = resolve("ise-k2_r50_market").model.num_neighbors
    features, centroids = torch.eye(4)[:2], torch.eye(4)
    centroids = nn.functional.normalize(centroids + 0.1 * torch.rand(4, 4), dim=1)
    supports = support_samples(features, torch.tensor([0, 1]), centroids, 0.2, k)
    images = (supports @ features.t()).argmax(1).tolist()
    compare("R9", "ise-k2", "images of the supports", [0, 0, 1, 1], images)


@pytest.mark.parametrize(
    "path",
    [
        "configs/mmt/mmt-k500_r50_duke2market.py",
        "projects/mebnet/configs/mebnet_r50_duke2market.py",
    ],
)
def test_r10_each_teacher_is_evaluated_at_the_end_of_every_run(path):
    hook = resolve(path).default_hooks.every_teacher
    compare("R10", Path(path).stem, "each teacher evaluated by", "EveryTeacherHook", hook.type)
    assert HOOKS.build(dict(hook, interval=10)).interval == 10


@pytest.mark.parametrize(
    "path, batch, group",
    [
        ("configs/ise/ise_r50_market.py", 256, 64),
        ("configs/ise/ise_r50_market.py", 64, 16),
        ("cluster-contrast-b64_r50_market", None, 16),
        ("configs/mmt/mmt-k500_r50_duke2market.py", None, 16),
        ("configs/strong_baseline/strong-baseline_r50_duke2market.py", None, 16),
        ("projects/spcl/configs/spcl_r50_market.py", None, 16),
        ("projects/spcl/configs/spcl_r50_duke2market.py", None, 16),
    ],
)
def test_r12_a_group_is_the_share_of_one_of_four_gpus(path, batch, group):
    cfg = resolve(path) if batch is None else load_config(path, {"global_batch_size": batch})
    encoder = cfg.model.encoder
    norm = (encoder[0] if isinstance(encoder, (list, tuple)) else encoder).norm
    where = f"{Path(path).stem}, {cfg.global_batch_size} images"
    compare("R12", where, "batch-norm group", group, norm.samples_per_group)


def test_r13_the_page_says_which_msmt17_the_figures_of_abmt_are_for():
    page = Path("configs/abmt/README.md").read_text()
    compare(
        "R13",
        "abmt",
        "MSMT17 of the figures",
        "MSMT17_V2",
        "MSMT17_V2" if "MSMT17_V2" in page else "?",
    )
