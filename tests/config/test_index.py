"""Names of configs: files, entries of the model index, and other pairs of datasets."""

from pathlib import Path

import pytest

from mmreid_uda.config import find_model, load_config, model_index, read_config
from mmreid_uda.utils import InputError

REPOSITORY = Path(__file__).parents[2]


def test_a_file_is_found_by_path_by_name_and_from_anywhere(tmp_path, monkeypatch):
    expected = REPOSITORY / "configs/ise/ise_r50_market.py"
    assert find_model(expected).file == expected
    monkeypatch.chdir(tmp_path)
    assert find_model("ise_r50_market").file == find_model("ise_r50_market.py").file == expected
    own = tmp_path / "configs" / "mine" / "ise_r50_market.py"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert find_model("ise_r50_market").file.resolve() == own


@pytest.mark.parametrize("name", ["ise_r50_markt", "configs/ise/ise_r50_markt.py"])
def test_an_unknown_config_gets_the_nearest_names(name):
    with pytest.raises(InputError, match=f"found no config file '{name}'.* ise_r50_market"):
        find_model(name)


def test_an_entry_of_the_index_changes_keys_of_its_file():
    found = find_model("ise-pli_r50_msmt17")
    assert found.file == REPOSITORY / "configs/ise/ise_r50_msmt17.py"
    assert found.overrides == {"model.lp_weight": 0.0}
    assert found.results[0]["Metrics"] == {"mAP": 33.5, "Rank-1": 63.9}
    cfg = load_config("ise-pli_r50_msmt17", {"model.num_neighbors": 2})
    assert (cfg.model.lp_weight, cfg.model.num_neighbors) == (0.0, 2)
    assert Path(cfg.filename).name == "ise-pli_r50_msmt17.py", "names the run and what is published"
    assert load_config("ise-pli_r50_msmt17", {"model.lp_weight": 1.0}).model.lp_weight == 1.0
    assert model_index()["ise-pli_r50_msmt17"] == found


def test_an_entry_is_the_same_each_time():
    first, second = (load_config("fat-triplet_mbv2_synthb").to_dict() for _ in range(2))
    assert first == second and "terms" not in second["model"]


def test_a_pair_without_an_entry_is_a_name_too():
    cfg = load_config("abmt_r50_msmt2market")
    assert (cfg.source, cfg.target) == ("msmt17", "market1501")
    assert cfg.stage1 == "work_dirs/source-ab_r50_msmt2market"
    assert (
        load_config(cfg.stage1.partition("/")[2]).train_dataloader.dataset.source[0].type
        == "MSMT17"
    )
    with pytest.raises(InputError, match="found no config file 'abmt_r50_msmt2nowhere'"):
        find_model("abmt_r50_msmt2nowhere")
    with pytest.raises(InputError, match="found no config file 'ise_r50_duke2market'"):
        find_model("ise_r50_duke2market")


def test_an_entry_can_be_the_base_of_a_config(tmp_path):
    read_config("mmt-k700_r50_duke2market").dump(tmp_path / "base.py")
    (tmp_path / "mine.py").write_text(
        "_base_ = './base.py'\ntarget = 'msmt17'\nclusterer = dict(num_clusters=9)\n"
    )
    cfg = load_config(tmp_path / "mine.py")
    assert cfg.default_hooks.cluster.clusterer == dict(type="KMeans", num_clusters=9)
    assert cfg.stage1[0] == "work_dirs/source-mmt_r50_duke2msmt17-seed1"


def test_a_folder_of_that_name_does_not_hide_a_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ise_r50_market").mkdir()  # a run, seen from work_dirs
    assert find_model("ise_r50_market").file.name == "ise_r50_market.py"


def write_index(folder, index, metafile="Models: []"):
    (folder / "model-index.yml").write_text(index)
    (folder / "metafile.yml").write_text(metafile)


@pytest.mark.parametrize(
    "index, metafile",
    [("", ""), ("Import: [metafile.yml]", "Models:\n  - Name: other\n"), ("[1, 2]", "")],
)
def test_an_index_of_another_project_in_the_working_folder_is_passed_over(
    tmp_path, monkeypatch, index, metafile
):
    monkeypatch.chdir(tmp_path)
    write_index(tmp_path, index, metafile)
    assert "ise-pli_r50_market" in model_index() and "other" not in model_index()


@pytest.mark.parametrize("index", ["Import: [", "Import: [missing.yml]"])
def test_an_index_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch, index):
    monkeypatch.chdir(tmp_path)
    write_index(tmp_path, index)
    with pytest.raises(InputError, match="cannot be read as the index of models"):
        model_index()
