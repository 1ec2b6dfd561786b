"""InfoMap sees the links of Cluster-Contrast's graph, and its small modules become outliers."""

import copy
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from mmreid_uda.clustering import InfoMap
from mmreid_uda.neighbors import unit_rows
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError

# Found, not imported: faiss has to be the first of the two.
needs_infomap = pytest.mark.skipif(find_spec("infomap") is None, reason="needs infomap")


def groups(sizes, noise=0.15, dim=64, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centers = np.eye(len(sizes), dim)
    noises = rng.standard_normal((len(truth), dim)) / np.sqrt(dim)
    return unit_rows(centers[truth] + noise * noises), truth


class FakeEngine:
    """Stands in for the package: keeps its settings and links, and puts all images with a link in one module."""

    made: list["FakeEngine"] = []

    def __init__(self, **settings):
        self.settings = settings
        FakeEngine.made.append(self)

    def add_links(self, links):
        self.links = links

    def run(self):
        linked = np.unique(self.links[:, :2]).astype(int)
        return SimpleNamespace(modules=lambda: dict.fromkeys(linked.tolist(), 1))


@pytest.fixture
def fake(monkeypatch):
    package = SimpleNamespace(Infomap=FakeEngine, Result=object, __version__="fake")
    monkeypatch.setitem(sys.modules, "infomap", package)
    FakeEngine.made.clear()
    return FakeEngine.made


@pytest.mark.parametrize("eps_scale", [0.8, 1.0, 1.2])
def test_links_go_to_similar_neighbors_with_the_cosine_as_weight(fake, eps_scale):
    features, _ = groups([12] * 6, noise=1.0)
    clusterer = InfoMap(k1=8)
    labels = clusterer(features, seed=0, epoch=0, eps_scale=eps_scale)
    similarities = features.astype(np.float64) @ features.T
    threshold = 1 - 0.5 * eps_scale
    expected = []
    for i in range(len(features)):
        others = [j for j in np.argsort(-similarities[i]) if j != i][:7]
        expected += [(i, j, similarities[i, j]) for j in others if similarities[i, j] >= threshold]
    assert 0 < len(expected) < 7 * len(features)
    np.testing.assert_allclose(fake[0].links, expected, atol=1e-6)
    assert fake[0].settings["two_level"] and fake[0].settings["directed"]
    assert clusterer.info["mean_degree"] == pytest.approx(len(expected) / len(features))
    linked = {i for link in expected for i in link[:2]}
    np.testing.assert_array_equal(labels, [0 if i in linked else -1 for i in range(len(features))])


def test_the_seed_follows_from_seed_and_epoch(fake):
    features, _ = groups([12] * 2)
    for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0)):
        InfoMap()(features, seed=seed, epoch=epoch)
    seeds = [engine.settings["seed"] for engine in fake]
    assert seeds[0] == seeds[1] and len(set(seeds)) == 3


@needs_infomap
@pytest.mark.filterwarnings("error:.*infomap.*")
def test_groups_become_clusters_and_small_ones_outliers():
    features, truth = groups([20, 4, 5, 30, 1])
    clusterer = CLUSTERERS.build(dict(type="InfoMap"))
    labels = clusterer(features, seed=0, epoch=0)
    expected = np.array([0, -1, 1, 2, -1])[truth]
    assert labels.dtype == np.int64
    assert len(set(zip(labels.tolist(), expected.tolist()))) == 4
    np.testing.assert_array_equal(labels < 0, expected < 0)
    np.testing.assert_array_equal(labels, clusterer(features, seed=0, epoch=0))
    np.testing.assert_array_equal(labels, copy.deepcopy(clusterer)(features, seed=0, epoch=0))


@needs_infomap
def test_images_without_any_link_are_outliers():
    np.testing.assert_array_equal(InfoMap()(np.eye(6), seed=0, epoch=0), [-1] * 6)


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "infomap", None)
    with pytest.raises(InputError, match=r"pip install mmreid_uda\[infomap\]"):
        InfoMap()


def test_an_old_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "infomap", SimpleNamespace(__version__="1.9"))
    with pytest.raises(InputError, match=r"infomap 1\.9"):
        InfoMap()


@pytest.mark.parametrize("change", [dict(k1=1), dict(k2=-1), dict(min_similarity=1.0)])
def test_bad_configs_are_named_before_training(change):
    with pytest.raises(InputError, match="for InfoMap"):
        InfoMap(**change)


@needs_infomap
@pytest.mark.slow
def test_faiss_is_imported_first_or_infomap_would_take_its_iterators():
    pytest.importorskip("faiss")
    # A process of its own: what was imported here stands in the order of the tests.
    code = (
        "import sys; from mmreid_uda.clustering.infomap import _import_infomap; _import_infomap(); "
        "names = list(sys.modules); sys.exit(names.index('faiss') > names.index('infomap'))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
