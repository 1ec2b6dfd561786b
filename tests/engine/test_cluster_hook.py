"""ClusterHook inside a real Runner: workers see every relabel, bad clusterings meet the stated policy."""

import json
import re
import sys
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmreid_uda.clustering import Clusterer, JaccardDBSCAN, KMeans, label_agreement
from mmreid_uda.config import load_config
from mmreid_uda.datasets.links import append_links
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.hooks import ClusterHook
from mmreid_uda.engine.label_report import LABEL_METRICS
from mmreid_uda.engine.links import LinksFile
from mmreid_uda.neighbors import jaccard_graph, unit_rows
from mmreid_uda.registry import CLUSTERERS, HOOKS, REFINERS
from mmreid_uda.structures import Evidence, Links, PseudoLabelState
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.slow


@CLUSTERERS.register_module(force=True)
class ScriptedLabels(Clusterer):
    """Labels that a test has written down: one entry per epoch, or one per attempt."""

    def __init__(self, script):
        super().__init__()
        self.script = script
        self.scales = []

    def cluster(self, features, *, seed, epoch, eps_scale, **extras):
        self.scales.append(eps_scale)
        kind = self.script[min(len(self.scales), len(self.script)) - 1]
        if kind == "outliers":
            return np.full(len(features), -1)
        if kind == "few":
            return np.append(np.arange(12) % 4, np.full(len(features) - 12, -1))
        if kind == "merged":
            return np.zeros(len(features), np.int64)
        if kind == "swallowed":
            return np.append(np.arange(12) % 4, np.zeros(len(features) - 12, np.int64))
        return (
            np.arange(len(features)) * (epoch + 1) // 3
        ) % 9 - 1  # eight clusters and some outliers


@HOOKS.register_module(force=True)
class CompareBatches(Hook):
    """Every label that a worker delivers is the one the dataset holds now."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        samples = data_batch["samples"]
        now = runner.train_dataloader.dataset.target.labels[samples["sample_idx"]]
        assert torch.equal(samples["gt_label"], now)
        assert (now >= 0).all()
        assert "pid" not in samples, "true identities must not reach the model"

    def after_train_epoch(self, runner):
        self.seen.append(runner.train_dataloader.dataset.target.labels.clone())


def make_runner(tiny, tmp_path, script, epochs=1, **options):
    options = {
        "work_dir": str(tmp_path / "run"),
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": 100,
        "default_hooks.report": None,
        "default_hooks.checkpoint.save_best": None,
        "iters_per_epoch": 2,
        **options,
    }
    extra = f"default_hooks['cluster']['clusterer'] = dict(_delete_=True, type='ScriptedLabels', script={script!r})\n"
    runner_config = load_config(tiny(extra=extra), options)
    return build_runner(runner_config)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_persistent_workers_see_every_relabel(tiny, tmp_path, start_method):
    runner = make_runner(
        tiny,
        tmp_path,
        ["good"],
        epochs=3,
        **{
            "train_dataloader.num_workers": 2,
            "train_dataloader.persistent_workers": True,
            "train_dataloader.multiprocessing_context": start_method,
        },
    )
    watcher = CompareBatches()
    runner.register_hook(watcher)
    runner.train()
    first, second, third = watcher.seen
    assert not torch.equal(first, second) and not torch.equal(second, third)
    runner.train_dataloader._iterator._shutdown_workers()


def test_a_clusterer_refuses_before_anything_is_extracted(tiny, tmp_path, monkeypatch):
    def refuse(self, num):
        raise InputError(f"found a file of other images than {num}")

    monkeypatch.setattr(ScriptedLabels, "require_images", refuse)
    monkeypatch.setattr(ClusterHook, "collect", None)
    runner = make_runner(tiny, tmp_path, ["good"])
    num = len(runner.train_dataloader.dataset.target)
    with pytest.raises(InputError, match=f"other images than {num}"):
        runner.train()


def test_images_that_show_no_subject_are_no_outliers(tiny, tmp_path):
    options = {"relabel.max_outlier_ratio": 0.5, "relabel.min_clusters": 2}
    runner = make_runner(tiny, tmp_path, ["good"], **options)
    target = runner.train_dataloader.dataset.target
    target.evidence.ignored[: 3 * len(target) // 4] = True
    runner.train()
    [hook] = [hook for hook in runner.hooks if isinstance(hook, ClusterHook)]
    assert hook.clustering.clusterer.scales == [1.0]
    shown = target.labels[torch.from_numpy(~target.evidence.ignored)]
    figures = hook.history[0]
    assert figures["images"] == len(shown) and figures["outliers"] == (shown < 0).sum() > 0
    assert figures["ignored"] == len(target) - len(shown)


def test_labels_and_statistics_are_written(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, ["good"])
    runner.train()
    saved = np.load(tmp_path / "run" / "pseudo_labels" / "epoch_001.npz")
    target = runner.train_dataloader.dataset.target
    assert saved["labels"].tolist() == target.labels.tolist()
    assert saved["paths"].tolist() == target.paths
    statistics = json.loads(str(saved["statistics"]))
    assert statistics["clusters"] == 8 and statistics["outliers"] == (saved["labels"] < 0).sum()
    assert {"nmi", "ari", "purity", "median", "one_camera_share"} <= statistics.keys()
    # Nothing came before, and mirrored images are looked at where asked for.
    assert not {"ari_previous", "ari_mirrored"} & statistics.keys()
    [scalars] = (tmp_path / "run").glob("*/vis_data/scalars.json")
    assert '"cluster/clusters": 8' in scalars.read_text()


def test_labels_are_held_against_those_before_and_those_of_mirrored_images(tiny, tmp_path):
    refiner = dict(type="DropSmallClusters", min_size=4)
    options = {
        "work_dir": str(tmp_path / "run"),
        "default_hooks.report": None,
        "train_cfg.max_epochs": 2,
        "iters_per_epoch": 2,
        "relabel.stability": True,
        "refiners": [refiner],
    }
    runner = build_runner(load_config(tiny(), options))
    states, mirrored = [], []

    def mirrored_features(extract, images):
        mirrored.append(images.features + 0.02 * images.features.roll(1, 0))
        return mirrored[-1]

    on_relabel = runner.model.on_relabel
    runner.model.mirrored_features = mirrored_features
    runner.model.on_relabel = lambda state: (states.append(state), on_relabel(state))
    runner.train()
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    for epoch, state in enumerate(states):
        rows = mirrored[epoch].numpy()
        clusterer = JaccardDBSCAN(eps=0.7, k1=8, k2=3, min_samples=2)
        labels = clusterer(rows, seed=1, epoch=epoch)
        expected = label_agreement(state.labels.numpy(), REFINERS.build(refiner)(labels, rows))
        assert hook.history[epoch]["ari_mirrored"] == pytest.approx(expected) and expected < 1
    first, second = (state.labels.numpy() for state in states)
    assert "ari_previous" not in hook.history[0]
    assert hook.history[1]["ari_previous"] == pytest.approx(label_agreement(second, first))
    assert runner.message_hub.get_info(LABEL_METRICS) == hook.history


def test_tracklets_and_time_reach_the_labels_by_a_recipe(tiny, tmp_path):
    options = {
        "work_dir": str(tmp_path / "run"),
        "default_hooks.report": None,
        "train_cfg.max_epochs": 2,
        "iters_per_epoch": 2,
        "relabel.stability": True,
    }
    extra = (
        "clusterer = dict(_delete_=True, type='ConstrainedLinkage')\n"
        "default_hooks['cluster'].pop('clusterer')\n"
        "evidence = dict(tracklets=True, cut_tracklets=None, time=True)\n"
    )
    runner = build_runner(load_config(tiny(extra=extra), options))
    target = runner.train_dataloader.dataset.target
    num = len(target)
    # Tracklets of three or four images; the first of all and every tenth are seen at the same time.
    tracklets, times = np.arange(num) * 2 // 7, np.arange(num) * 1.0
    known = np.isin(tracklets, np.unique(tracklets)[::10])
    times[known] = np.arange(num)[known] % 7
    target.evidence = Evidence(np.zeros(num), times, tracklets)
    states = []
    on_relabel = runner.model.on_relabel
    runner.model.on_relabel = lambda state: (states.append(state), on_relabel(state))
    runner.train()
    assert len(states) == 2
    for state in states:
        labels = state.labels.numpy()
        assert state.statistics["nodes"] == tracklets.max() + 1
        assert state.statistics["tracklet_purity"] == 1
        assert 0 < state.statistics["distance_threshold"] < 1
        together = labels[known][np.unique(tracklets[known], return_index=True)[1]]
        assert len(np.unique(together)) == len(together) > 1
        assert -1 <= state.statistics["ari_mirrored"] <= 1


def test_labels_that_cannot_be_right_are_warned_of_once(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, ["swallowed"], epochs=2)
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    runner.call_hook("before_run")
    for epoch in range(2):
        runner.train_loop._epoch = epoch
        hook.before_train_epoch(runner)
    assert hook.history[1]["ari_previous"] == 1
    [log] = (tmp_path / "run").glob("*/*.log")
    warnings = [line for line in log.read_text().splitlines() if "WARNING - Pseudo-labels" in line]
    assert len(warnings) == 1
    assert "of epoch 1: one cluster holds 88% of the images that are in clusters" in warnings[0]


@CLUSTERERS.register_module(force=True)
class TimedLabels(ScriptedLabels):
    """A clusterer that says how long its own steps took."""

    def cluster(self, features, **options):
        self.info = dict(eps=0.5, seconds_knn=3.0, seconds_jaccard=2.0)
        return super().cluster(features, **options)


@pytest.mark.parametrize(
    "clusterer, steps",
    [("ScriptedLabels", "cluster"), ("TimedLabels", "knn / jaccard")],
)
def test_the_log_has_the_seconds_of_each_step_once(tiny, tmp_path, clusterer, steps):
    # Of two runs of one name in one second mmengine writes the log of the first alone.
    option = {"clusterer.type": clusterer, "experiment_name": clusterer}
    make_runner(tiny, tmp_path, ["good"], **option).train()
    [log] = (tmp_path / "run").glob("*/*.log")
    [line] = [line for line in log.read_text().splitlines() if "Pseudo-labels of epoch 1" in line]
    metrics, profile = line.rsplit(" (", 1)
    assert "clusters 8" in metrics and "seconds" not in line
    assert re.sub(r" \d+\.\d", "", profile).startswith(
        f"extract / {steps} / refine / health / broadcast"
    )


def test_relaxing_widens_the_radius_until_the_result_is_usable(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, ["outliers", "outliers", "good"])
    runner.train()
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    assert hook.clustering.clusterer.scales == pytest.approx([1, 1.15, 1.15**2])


def test_relaxing_narrows_the_radius_when_everything_has_merged(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, ["merged", "good"])
    runner.train()
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    assert hook.clustering.clusterer.scales == pytest.approx([1, 1 / 1.15])


def test_a_recipe_trains_on_few_clusters_unless_a_limit_is_set(tiny, tmp_path):
    """As the released runs do, whose first epochs have 80 clusters of 12,936 images."""
    runner = make_runner(tiny, tmp_path, ["few", "good"])
    runner.train()
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    assert hook.clustering.clusterer.scales == [1] and hook.max_outlier_ratio == 1
    limit = {"relabel.max_outlier_ratio": 0.5, "work_dir": str(tmp_path / "again")}
    runner = make_runner(tiny, tmp_path, ["few", "good"], **limit)
    runner.train()
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    assert hook.clustering.clusterer.scales == pytest.approx([1, 1.15])


def test_the_previous_labels_stay_when_the_policy_says_so(tiny, tmp_path):
    policy = {"relabel.policy": "keep_previous"}
    runner = make_runner(tiny, tmp_path, ["good", "outliers"], epochs=2, **policy)
    runner.train()
    first, second = (
        np.load(tmp_path / "run" / "pseudo_labels" / f"epoch_00{epoch}.npz") for epoch in (1, 2)
    )
    assert first["labels"].tolist() == second["labels"].tolist()
    assert json.loads(str(second["statistics"]))["kept_previous"] == 1


@pytest.mark.parametrize(
    "script, policy, words",
    [
        ("outliers", "raise", "100.0% of .* images without a cluster"),
        ("merged", "raise", "found 1 clusters among .* expected at least 4"),
        ("outliers", "relax_eps", "without a cluster"),
        ("outliers", "keep_previous", "without a cluster"),
    ],
)
def test_an_unusable_first_clustering_ends_in_a_sentence(tiny, tmp_path, script, policy, words):
    runner = make_runner(tiny, tmp_path, [script], **{"relabel.policy": policy})
    with pytest.raises(InputError, match=words) as caught:
        runner.train()
    assert "eps" in str(caught.value) and runner.iter == 0


def test_features_that_are_not_finite_end_in_a_sentence(tiny, tmp_path):
    runner = make_runner(tiny, tmp_path, ["good"])

    def poison(_):
        next(runner.model.encoder.parameters()).data.fill_(float("nan"))

    hook = Hook()
    hook.before_train = poison
    runner.register_hook(hook)
    with pytest.raises(InputError, match=r"rows with NaN, .* \(the first is '.*jpg'\).* lower"):
        runner.train()


def test_features_are_clustered_in_mixed_precision_where_asked_for(tiny, tmp_path):
    features = []
    for amp_dtype in (None, "bfloat16"):
        options = {"default_hooks.cluster.amp_dtype": amp_dtype, "experiment_name": str(amp_dtype)}
        runner = make_runner(tiny, tmp_path, ["good"], **options)
        runner.model.on_relabel = lambda state: features.append(state.features)
        [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
        runner.call_hook("before_run")
        hook.before_train_epoch(runner)
    exact, mixed = features
    assert exact.dtype == mixed.dtype == torch.float32
    assert not torch.equal(exact, mixed) and (exact * mixed).sum(1).min() > 0.98


def test_unknown_types_of_mixed_precision_are_refused():
    with pytest.raises(InputError, match="amp_dtype='int8'"):
        ClusterHook(dict(type="GroundTruthLabels"), pipeline=[], amp_dtype="int8")


def test_unknown_policies_are_refused():
    with pytest.raises(InputError, match="policy='ignore'"):
        ClusterHook(dict(type="GroundTruthLabels"), pipeline=[], policy="ignore")


class Answers(ScriptedLabels):
    """A clusterer that asks for an attribute of the dataset and for a method of the model."""

    requires = ("camids", "twice")

    def cluster(self, features, *, camids, twice, **options):
        np.testing.assert_array_equal(twice, 2 * features)
        assert camids.shape == (len(features),)
        self.state = getattr(self, "state", 0) + 1
        return super().cluster(features, **options)


CLUSTERERS.register_module(module=Answers, force=True)


def test_what_a_clusterer_requires_is_answered_by_name_and_a_state_clusters_again(tiny, tmp_path):
    option = {"default_hooks.cluster.clusterer.type": "Answers"}
    runner = make_runner(tiny, tmp_path, ["good", "few"], **option)
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    model, again = runner.model, []
    model.twice = lambda extract, images: 2 * images.features

    def on_relabel(state):
        again.append(state.cluster(state.features))
        with pytest.raises(InputError, match=r"found Answers, which makes no graph of distances"):
            state.distances(0.2)

    model.on_relabel = on_relabel
    runner.call_hook("before_run")
    hook.before_train_epoch(runner)
    target = runner.train_dataloader.dataset.target
    assert target.labels.max() == 7
    # The second entry of the script, whose few clusters no limit refuses; the clusterer itself has been asked once.
    assert (
        again[0].dtype == torch.int64
        and again[0].max() == 3
        and hook.clustering.clusterer.state == 1
    )
    del model.twice
    with pytest.raises(
        InputError, match=r"requires 'twice', which neither .*Synthetic.* nor .* ISE"
    ):
        hook.before_train_epoch(runner)


def test_what_is_clustered_is_what_the_model_says(tiny, tmp_path):
    source = dict(_delete_=True, name="syntha", num_train_ids=3, num_test_ids=3, images_per_id=4)
    runner = make_runner(tiny, tmp_path, ["good"], source=source)
    [hook] = [hook for hook in runner.hooks if type(hook).__name__ == "ClusterHook"]
    model, seen = runner.model, []

    def cluster_features(extract, images):
        seen.append((images, extract(model, images.sources[0])))
        return extract(lambda inputs: 3 * model.extract_feat(inputs), images.target)

    model.cluster_features = cluster_features
    model.on_relabel = lambda state: seen.append(state.features)
    runner.call_hook("before_run")
    hook.before_train_epoch(runner)
    (images, of_source), features = seen
    assert images.epoch == 0 and images.target is runner.train_dataloader.dataset.target
    assert images.source_labels.tolist() == images.sources[0].true_labels.tolist()
    torch.testing.assert_close(of_source, model.source_features(lambda *_: of_source, images))
    torch.testing.assert_close(of_source.norm(dim=1), torch.ones(len(of_source)))
    assert features is images.features and (features.norm(dim=1) > 2.9).all()


def test_labels_and_memory_of_features_on_disk_are_those_of_features_in_memory(tiny, tmp_path):
    found = {}
    for where in ("memory", "disk"):
        options = {
            "work_dir": str(tmp_path / where),
            "train_cfg.max_epochs": 2,
            "train_cfg.val_interval": 100,
            "iters_per_epoch": 1,
            "default_hooks.report": None,
            "default_hooks.checkpoint.save_best": None,
            "default_hooks.cluster.features": where,
            "default_hooks.cluster.stability": True,
        }
        runner = build_runner(load_config(tiny(), options))
        runner.train()
        assert not (tmp_path / where / "features").exists()
        saved = [
            np.load(tmp_path / where / "pseudo_labels" / f"epoch_{epoch:03d}.npz")
            for epoch in (1, 2)
        ]
        assert "ari_mirrored" in json.loads(str(saved[1]["statistics"]))
        found[where] = [one["labels"].tolist() for one in saved], runner.model.state_dict()
    assert found["memory"][0] == found["disk"][0]
    for name, tensor in found["memory"][1].items():
        assert torch.equal(tensor, found["disk"][1][name]), name


def label_on_a_rank(rank, features):
    hook = ClusterHook(dict(type="KMeans", num_clusters=3), pipeline=[])
    jaccard = ClusterHook(dict(type="JaccardDBSCAN", k1=6, k2=2), pipeline=[])
    features = torch.from_numpy(features)
    nodes = jaccard.clustering.prepare(features, over_ranks=True)
    if rank:  # rank 0 alone clusters
        hook.clustering.clusterer.cluster = jaccard.clustering.clusterer.graph = None
    images = SimpleNamespace(target=SimpleNamespace(evidence=None))
    runner = SimpleNamespace(seed=1, epoch=2, train_dataloader=SimpleNamespace(dataset=images))
    labels = hook.label(runner, features, {}).numpy()
    distances = jaccard.distances(runner, nodes, 0.5, {}).toarray()
    chosen = hook.clustering.choose(
        features, Evidence(np.arange(30) % 2), over_ranks=True, seed=1, epoch=2
    )
    # Every rank compares its share of the images with the sources.
    weighted = ClusterHook(dict(type="JaccardDBSCAN", k1=6, source_weight=0.1), pipeline=[])
    dbscan = sys.modules["mmreid_uda.clustering.dbscan"]
    with mock.patch.object(dbscan, "source_distances", wraps=dbscan.source_distances) as compare:
        from_source = weighted.label(runner, features, dict(source_features=features[:9].numpy()))
    together = [call.kwargs["shares"].together for call in compare.call_args_list]
    return labels, distances, chosen, from_source.numpy(), together


def test_a_state_clusters_again_on_rank_0_for_all_and_gives_its_distances(run_ranks):
    features = unit_rows(np.random.default_rng(0).standard_normal((30, 4)))
    expected = KMeans(num_clusters=3)(features, seed=1, epoch=2)
    graph = jaccard_graph(features, 6, 2, max_distance=0.5).toarray()
    alone = ClusterHook(dict(type="KMeans", num_clusters=3), pipeline=[]).clustering
    choice = alone.choose(torch.from_numpy(features), Evidence(np.arange(30) % 2), seed=1, epoch=2)
    assert choice[1]
    weighted = JaccardDBSCAN(k1=6, source_weight=0.1)(
        features, seed=1, epoch=2, source_features=features[:9]
    )
    outcomes = run_ranks(label_on_a_rank, args=(features,))
    for labels, distances, chosen, from_source, together in outcomes:
        assert chosen == choice
        assert from_source.tolist() == weighted.tolist() and together == [True]
        assert labels.tolist() == expected.tolist()
        np.testing.assert_array_equal(distances, graph)


def test_a_state_made_by_hand_has_no_distances():
    with pytest.raises(RuntimeError, match="made by hand"):
        PseudoLabelState(0, torch.zeros(2), torch.zeros(2, 2)).distances(0.2)


def test_links_are_read_again_before_each_clustering(tiny, tmp_path, caplog):
    links = tmp_path / "links.csv"
    links.write_text("path_a,path_b,kind\n")

    class Speak(Hook):
        """Say something between the epochs."""

        def after_train_epoch(self, runner):
            if runner.epoch == 0:
                paths = runner.train_dataloader.dataset.target.paths
                rows = [dict(path_a=paths[0], path_b=paths[1], kind="cannot")]
                append_links(links, [*rows, dict(path_a=paths[2], kind="ignore")])
            elif runner.epoch == 1:
                links.write_text("path_a,path_b,kind\na,,must\n")

    options = {"target.links": str(links), "relabel.min_clusters": 2}
    runner = make_runner(tiny, tmp_path, ["good"], epochs=4, **options)
    runner.register_hook(Speak())
    seen = []
    [hook] = [hook for hook in runner.hooks if isinstance(hook, ClusterHook)]
    refresh = hook._links.refresh

    def watched(target, runner):
        refresh(target, runner)
        seen.append((len(target.evidence.links), int(target.evidence.ignored.sum())))

    hook._links.refresh = watched
    runner.train()
    # The file that cannot be understood leaves what was read before.
    assert seen == [(0, 0), (1, 1), (1, 1), (1, 1)]
    target = runner.train_dataloader.dataset.target
    assert target.labels[2] == -1
    log = next((tmp_path / "run").glob("*/*.log")).read_text()
    assert "Links before epoch 2: 1 links and 1 images that show no subject in" in log
    assert "links.csv, which has changed (SHA-256 " in log
    assert "has the kind must and too few paths" in log and "were read before hold" in log
    saved = torch.load(tmp_path / "run" / "epoch_4.pth", weights_only=False)
    assert saved["pseudo_labels"]["links"] == hook._links.digest


def test_a_resumed_run_with_the_same_links_goes_on_as_if_never_stopped(tiny, tmp_path):
    links = tmp_path / "links.csv"
    options = {"target.links": str(links), "relabel.min_clusters": 2}
    append_links(links, [dict(path_a="a.jpg", path_b="b.jpg", kind="must")])
    whole = make_runner(tiny, tmp_path, ["good"], epochs=2, **options)
    whole.train()
    resumed = {**options, "work_dir": str(tmp_path / "second"), "resume": True}
    part = make_runner(
        tiny, tmp_path, ["good"], 2, **resumed, load_from=str(tmp_path / "run" / "epoch_1.pth")
    )
    part.train()
    first, second = (
        torch.load(tmp_path / name / "epoch_2.pth", weights_only=False)
        for name in ("run", "second")
    )
    assert first["pseudo_labels"]["links"] == second["pseudo_labels"]["links"] is not None
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name


def _links_of_rank(rank, path):
    """What each rank holds after reading a file that only rank 0 can see."""
    target = SimpleNamespace(
        links_path=path, evidence=Evidence(np.zeros(4)), read_links=lambda: _said(rank)
    )
    runner = SimpleNamespace(epoch=0, logger=SimpleNamespace(info=print, warning=print))
    LinksFile().refresh(target, runner)
    links = target.evidence.links
    return links.first.tolist(), links.must.tolist(), target.evidence.ignored.tolist()


def _said(rank):
    assert rank == 0, "only rank 0 reads"
    return Links(*(np.array([one]) for one in (0, 1, True, 2))), np.array([0, 0, 0, 1], bool)


def test_all_ranks_hold_what_rank_0_has_read(run_ranks, tmp_path):
    links = tmp_path / "links.csv"
    links.write_text("path_a,path_b,kind\n")
    results = run_ranks(_links_of_rank, args=(str(links),))
    assert results == [([0], [True], [False, False, False, True])] * 2
