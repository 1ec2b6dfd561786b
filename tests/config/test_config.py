"""Recipe keys reach mmengine's dictionaries; misspelt keys are named before anything is built."""

import functools
from pathlib import Path

import pytest

from mmreid_uda.cli import parse_options
from mmreid_uda.config import apply_recipe, finish_config, load_config, read_config
from mmreid_uda.config.recipe import FILLED
from mmreid_uda.utils import InputError

MARKET = "configs/ise/ise_r50_market.py"
SMALL = "configs/ise/ise_mbv2_synthb.py"


def resize_sizes(pipeline):
    return [tuple(step["scale"]) for step in pipeline if step["type"] == "Resize"]


def test_a_name_becomes_training_and_test_sets():
    cfg = load_config(MARKET, {"data_root": "elsewhere"})
    target = cfg.train_dataloader.dataset.target
    assert (target.type, target.split, target.labels, target.domain) == (
        "Market1501",
        "train",
        "unlabeled",
        1,
    )
    assert target.data_root == "elsewhere" and cfg.train_dataloader.dataset.source == []
    assert cfg.val_dataloader.dataset.sets == ["market1501"]
    assert cfg.val_dataloader.dataset.data_root == "elsewhere"
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.model.encoder == cfg.encoder


def test_sources_and_other_test_sets_are_one_line_each():
    cfg = load_config(MARKET, {"source": ["dukemtmc", "personx"], "test": ["market1501", "msmt17"]})
    assert [(one.type, one.labels, one.domain) for one in cfg.train_dataloader.dataset.source] == [
        ("DukeMTMCreID", "ground_truth", 0),
        ("PersonX", "ground_truth", 0),
    ]
    assert cfg.val_dataloader.dataset.sets == ["market1501", "msmt17"]


EVALUATION = {
    f"{loop}_{key}" for loop in ("val", "test") for key in ("dataloader", "evaluator", "cfg")
}


@pytest.mark.parametrize(
    "options",
    [
        {"test": []},
        {"target": "vehiclex"},
        {"target": None, "source": "personx"},
        {"val_dataloader": None, "val_evaluator": None, "val_cfg": None, "test_cfg": None},
        {"val_dataloader": None},
    ],
)
def test_a_run_without_test_images_has_no_loop_for_them(options):
    cfg = load_config(MARKET, options)
    assert not EVALUATION & set(cfg)
    before = cfg.to_dict()
    apply_recipe(cfg)
    assert cfg.to_dict() == before


def test_a_target_that_has_no_tests_may_be_tested_by_others():
    cfg = load_config(MARKET, {"target": "vehiclex", "test": "veri776"})
    assert cfg.val_dataloader.dataset.sets == ["veri776"] and set(cfg) >= EVALUATION


@pytest.mark.parametrize(
    "target, size", [("market1501", (256, 128)), ("veri776", (224, 224)), ("orl", (160, 128))]
)
def test_every_pipeline_resizes_to_what_is_usual_for_the_target(target, size):
    cfg = load_config(MARKET, {"target": target})
    pipelines = (
        cfg.train_dataloader.dataset.target.pipeline,
        cfg.val_dataloader.dataset.pipeline,
        cfg.default_hooks.cluster.pipeline,
    )
    assert all(resize_sizes(pipeline) == [size[::-1]] for pipeline in pipelines)


def test_a_resize_with_a_size_of_its_own_keeps_it():
    cfg = load_config(MARKET, {"train_pipeline.1.scale": (144, 432)})
    assert resize_sizes(cfg.train_dataloader.dataset.target.pipeline) == [(144, 432)]
    assert resize_sizes(cfg.val_dataloader.dataset.pipeline) == [(128, 256)]


def test_a_cache_is_one_line_for_all_training_sets_and_a_key_of_any_other():
    cfg = load_config(
        MARKET,
        {
            "cache": "2GiB",
            "source": ["dukemtmc", dict(name="personx", cache="500MB")],
            "test": [dict(name="market1501", cache="1GiB")],
        },
    )
    training = cfg.train_dataloader.dataset
    assert [one.cache for one in (*training.source, training.target)] == ["2GiB", "500MB", "2GiB"]
    assert cfg.val_dataloader.dataset.sets == [dict(name="market1501", cache="1GiB")]
    assert "cache" not in load_config(MARKET).train_dataloader.dataset.target


def test_the_global_batch_is_divided_over_processes():
    assert load_config(MARKET, world_size=4).train_dataloader.batch_size == 64
    assert load_config(MARKET, world_size=1).train_dataloader.batch_size == 256
    with pytest.raises(InputError, match=r"global_batch_size=256.*3 process.*multiple of 48"):
        load_config(MARKET, world_size=3)


def norm_groups(path, options=None, **kwargs):
    norm = load_config(path, {"stage1": None, **(options or {})}, **kwargs).model.encoder.norm
    return norm.get("samples_per_group")


def test_batch_norm_groups_follow_the_global_batch_unless_given():
    spcl = "projects/spcl/configs/spcl_r50_duke2market.py"
    assert norm_groups(MARKET) == 64 and norm_groups(MARKET, world_size=4) == 64
    assert norm_groups(MARKET, {"global_batch_size": 64, "num_instances": 4}) == 16
    assert norm_groups(MARKET, {"reference_gpus": 2}) == 128
    accumulated = {"global_batch_size": 64, "optim_wrapper.accumulative_counts": 4}
    assert norm_groups(MARKET, accumulated) == 64, "a quarter of 256, and no more than a batch"
    assert norm_groups(MARKET, {"encoder.norm.samples_per_group": 32}) == 32
    assert norm_groups(MARKET, {"encoder.norm.samples_per_group": None}) is None
    assert norm_groups(MARKET, {"global_batch_size": 4, "num_instances": 2}) == 2
    assert norm_groups(spcl) == 16, "each domain has its own groups"
    assert norm_groups("configs/fat/fat_r50_market.py") is None
    assert norm_groups(SMALL) == 32 and norm_groups(SMALL, {"global_batch_size": 32}) == 16


def test_groups_reach_every_student():
    cfg = load_config(
        "configs/mmt/mmt-k500_r50_duke2market.py",
        {"stage1": ["a.pth", "b.pth"], "global_batch_size": 32},
    )
    assert [one.norm.samples_per_group for one in cfg.model.encoder] == [8, 8]


def resizers(pipeline):
    return [step.get("backend", "cv2") for step in pipeline if step["type"] == "Resize"]


def test_one_key_says_which_library_resizes():
    for backend in ("cv2", "pillow"):
        cfg = load_config(SMALL, {"resize_backend": backend})
        pipelines = (cfg.train_pipeline, cfg.test_pipeline, cfg.val_dataloader.dataset.pipeline)
        assert [resizers(one) for one in pipelines] == [[backend]] * 3
        assert resizers(cfg.default_hooks.cluster.pipeline) == [backend]
        assert resizers(cfg.train_dataloader.dataset.target.pipeline) == [backend]


def test_applying_the_recipe_twice_changes_nothing():
    cfg = load_config(SMALL)
    before = cfg.pretty_text
    apply_recipe(cfg)
    assert cfg.pretty_text == before


@pytest.mark.parametrize(
    "name", [SMALL, "mmt-dbscan_mbv2_syntha2synthc", "fat-teacher_mbv2_synthb"]
)
def test_a_written_config_is_the_same_when_it_is_read_again(name, tmp_path):
    cfg = load_config(name)
    cfg.dump(tmp_path / "again.py")
    assert load_config(tmp_path / "again.py").to_dict() == cfg.to_dict()
    changed = load_config(tmp_path / "again.py", {"clusterer": dict(_delete_=True, type="InfoMap")})
    assert changed.default_hooks.cluster.clusterer == dict(type="InfoMap")


def test_a_hook_set_to_none_stays_so_when_the_recipe_is_applied_again():
    cfg = load_config(SMALL, {"default_hooks.report": None})
    apply_recipe(cfg)
    assert cfg.default_hooks.report is None


@pytest.mark.parametrize(
    "option, where, closest",
    [
        ("model.head.temprature", "model.head.temprature", "temperature"),
        ("model.lp_wieght", "model.lp_wieght", "lp_weight"),
        ("encoder.backbone.dpeth", "model.encoder.backbone.dpeth", "depth"),
        ("clusterer.epss", "`clusterer.epss`", "eps"),
        ("train_dataloader.batch_sampler.use_camera", "batch_sampler.use_camera", "use_cameras"),
        ("optim_wrapper.optimizer.weigth_decay", "optimizer.weigth_decay", "weight_decay"),
        ("param_scheduler.gama", "param_scheduler.gama", "gamma"),
        ("val_evaluator.re_rank", "val_evaluator.re_rank", "rerank"),
        ("global_batchsize", "global_batchsize", "global_batch_size"),
        ("optim_wraper", "optim_wraper", "optim_wrapper"),
    ],
)
def test_a_misspelled_key_is_named_with_the_right_one(option, where, closest):
    with pytest.raises(InputError) as caught:
        load_config(MARKET, {option: 1})
    assert where in str(caught.value) and f"`{closest}`" in str(caught.value)


def test_a_key_of_a_class_without_any_is_named():
    options = {"stage1": None, "default_hooks.ema.momentum": 0.99}
    with pytest.raises(InputError, match=r"`default_hooks\.ema\.momentum` .* EMAHook takes no key"):
        load_config("configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py", options)


@pytest.mark.parametrize("place", FILLED)
def test_an_option_that_a_recipe_key_would_overwrite_is_refused(place):
    with pytest.raises(InputError, match=f"set {FILLED[place]} instead"):
        load_config(MARKET, {place: 8})
    # Each of them is indeed overwritten.
    cfg = read_config(MARKET)
    cfg.merge_from_dict({place: 7, "source": "personx"})
    finish_config(cfg)
    assert functools.reduce(lambda node, key: node[key], place.split("."), cfg) != 7


def test_an_option_below_a_name_says_what_to_write():
    options = {"target.noise.wrong_id": 0.2}
    with pytest.raises(InputError, match=r"target\._delete_=True target\.name=market1501"):
        load_config(MARKET, options)
    spelled_out = {"target._delete_": True, "target.name": "market1501", **options}
    assert load_config(MARKET, spelled_out).target.noise.wrong_id == 0.2


def test_a_dict_over_a_name_needs_delete(tmp_path):
    base = Path(MARKET).resolve()
    (tmp_path / "mine.py").write_text(f"_base_ = {str(base)!r}\ntarget = dict(name='personx')\n")
    with pytest.raises(InputError, match="add _delete_=True"):
        load_config(tmp_path / "mine.py")


@pytest.mark.parametrize(
    "option, expected",
    [
        ("eps", "whole key such as `clusterer.eps`"),
        ("lr", "whole key such as `optim_wrapper.optimizer.lr`"),
        ("optimizer.lr", "`optim_wrapper.optimizer.lr`"),
        ("modell.type", "`model.type`"),
        ("trian_cfg.epochs", "`train_cfg`"),
    ],
)
def test_an_option_that_nothing_reads_is_refused(option, expected):
    with pytest.raises(InputError, match=f"`{option}`, which nothing reads: expected .*{expected}"):
        load_config(MARKET, {option: 1})


@pytest.mark.parametrize(
    "options, words",
    [
        ({"input_size": 128}, r"input_size=128 in the config, expected height and width"),
        (
            {"input_size": (128, 0)},
            r"input_size=\(128, 0\) in the config, expected height and width",
        ),
        (
            {"test_pipeline.7.scale": 128},
            r"`test_pipeline\.7\.scale`.* Index 7 exceeds the length of list\.$",
        ),
        ({"train_cfg.max_epochs.last": 1}, r"`train_cfg\.max_epochs\.last`.* does not fit"),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence(options, words):
    with pytest.raises(InputError, match=words):
        load_config(MARKET, options)


def test_names_of_datasets_may_stand_in_one_text():
    cfg = load_config(MARKET, parse_options(["test=personx, msmt17", "source=dukemtmc,personx"]))
    assert cfg.val_dataloader.dataset.sets == ["personx", "msmt17"]
    assert [one.type for one in cfg.train_dataloader.dataset.source] == ["DukeMTMCreID", "PersonX"]


def test_a_whole_number_may_be_written_with_a_point():
    cfg = load_config(MARKET, {"global_batch_size": 64.0, "train_cfg.max_epochs": 3.0})
    assert [repr(cfg.train_dataloader.batch_size), repr(cfg.train_cfg.max_epochs)] == ["64", "3"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "cut.py").write_text("target = 'synthb'\nmodel = dict(\n")
    with pytest.raises(InputError, match=r"cut\.py' .* '\(' was never closed in line 2"):
        load_config(tmp_path / "cut.py")
    (tmp_path / "lost.py").write_text("_base_ = './none.py'\n")
    with pytest.raises(InputError, match=r"lost\.py' has a _base_ that does not exist .*none\.py"):
        load_config(tmp_path / "lost.py")


def test_a_missing_file_and_an_unknown_dataset_are_named():
    with pytest.raises(InputError, match=r"found no config file 'configs/none\.py'"):
        load_config("configs/none.py")
    with pytest.raises(InputError, match="did you mean 'market1501'"):
        load_config(MARKET, {"target": "market"})


ABMT = "configs/abmt/abmt_r50_duke2market.py"
MMT = "configs/mmt/mmt-k500_r50_duke2market.py"


def test_a_run_of_stage_one_takes_the_place_of_imagenet_weights():
    cfg = load_config(ABMT)
    expected = dict(type="Pretrained", checkpoint="work_dirs/source-ab_r50_duke2market")
    assert cfg.model.encoder.init_cfg == expected and "init_cfg" not in cfg.model.encoder.backbone
    assert load_config(ABMT, {"stage1": None}).model.encoder == cfg.encoder
    apply_recipe(cfg)
    assert cfg.model.encoder.init_cfg == expected


def test_several_runs_of_stage_one_make_an_encoder_for_each_student():
    encoders = load_config(MMT).model.encoder
    runs = [f"work_dirs/source-mmt_r50_duke2market-seed{seed}" for seed in (1, 2)]
    assert [encoder.init_cfg.checkpoint for encoder in encoders] == runs


def test_stage_one_is_named_by_method_encoder_and_pair():
    cfg = load_config(MMT, {"source": "msmt17", "target": "veri776"})
    assert cfg.stage1 == [f"work_dirs/source-mmt_r50_msmt2veri-seed{seed}" for seed in (1, 2)]
    assert cfg.val_dataloader.dataset.sets == ["veri776"]
    assert cfg.train_dataloader.dataset.source == [] and cfg.train == ["target"]
    assert load_config(ABMT, {"source": None, "clusterer.source_weight": 0}).stage1 is None
    assert load_config(ABMT, {"stage1": "a{b}.pth"}).model.encoder.init_cfg.checkpoint == "a{b}.pth"
    mine = dict(_delete_=True, type="FolderReIDDataset", data_root="data/mine")
    with pytest.raises(InputError, match="and no name of the source: set source, or name the run"):
        load_config(ABMT, {"source": mine})


def test_words_among_the_tests_stand_for_source_and_target():
    path = "configs/source/source_r50_duke2market.py"
    assert load_config(path).val_dataloader.dataset.sets == ["market1501", "dukemtmc"]
    changed = load_config(path, {"source": ["personx", "vehiclex"], "test": ["source", "msmt17"]})
    assert changed.val_dataloader.dataset.sets == ["personx", "msmt17"], "VehicleX has no tests"


def test_nothing_is_evaluated_where_nobody_says_who_is_who(tmp_path):
    """Sub-folders of a target may be cameras: they are people only where the config says so."""
    for name in ("crops/door/1.jpg", "crops/hall/2.jpg", "people/ann/1.jpg", "people/bob/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    crops, people = str(tmp_path / "crops"), str(tmp_path / "people")
    folder = dict(_delete_=True, type="FolderReIDDataset", data_root=crops)
    for target in (crops, folder, dict(folder, folders="camera")):
        for test in ({}, {"test": []}, {"test": ["target"]}):
            cfg = load_config(SMALL, {"target": target, **test})
            assert "val_dataloader" not in cfg or cfg.val_dataloader is None
    cfg = load_config(SMALL, {"target": dict(folder, folders="identity")})
    assert cfg.val_dataloader.dataset.sets[0].folders == "identity"
    cfg = load_config(SMALL, {"target": crops, "test": [people]})
    assert cfg.val_dataloader.dataset.sets == [people]


def test_the_clusterer_is_said_at_the_top_or_in_its_hook():
    options = {"clusterer.eps": 0.3, "relabel.policy": "raise", "default_hooks.cluster.interval": 2}
    hook = load_config(SMALL, options).default_hooks.cluster
    assert (hook.clusterer.eps, hook.policy, hook.interval, hook.max_outlier_ratio) == (
        0.3,
        "raise",
        2,
        1.0,
    )
    assert load_config(SMALL, {"default_hooks.cluster.clusterer.eps": 0.2}).clusterer.eps == 0.2
    own = dict(_delete_=True, type="ClusterHook", clusterer=dict(type="InfoMap"))
    replaced = load_config(SMALL, {"default_hooks.cluster": own}).default_hooks.cluster
    assert set(replaced) == {"type", "clusterer", "pipeline"}, "nothing else of the recipe's"


def test_domains_may_have_instances_of_their_own():
    cfg = load_config("configs/source/source_r50_duke2market.py", world_size=2)
    assert cfg.train_dataloader.batch_sampler.num_instances == dict(source=4, target=0)
    assert cfg.train_dataloader.batch_size == 32
    with pytest.raises(InputError, match="multiple of 4"):
        load_config("configs/source/source_r50_duke2market.py", world_size=32)


VIT = {
    "_delete_": True,
    "type": "ReIDEncoder",
    "backbone": dict(type="TimmBackbone", name="vit_tiny_patch16_224"),
}


def test_a_backbone_for_one_size_gets_that_of_the_images():
    cfg = load_config(SMALL, {"encoder": VIT})
    assert (
        cfg.model.encoder.backbone.img_size == (128, 64) == resize_sizes(cfg.test_pipeline)[0][::-1]
    )
    cfg = load_config(SMALL, {"encoder": VIT, "input_size": (64, 32), "stage1": "run"})
    assert cfg.model.encoder.backbone.img_size == (64, 32)
    own = {**VIT, "backbone": dict(VIT["backbone"], img_size=(96, 48))}
    assert load_config(SMALL, {"encoder": own}).model.encoder.backbone.img_size == (96, 48)
    assert "img_size" not in load_config(SMALL).model.encoder.backbone


def test_normalisation_reaches_the_data_preprocessor_which_may_say_otherwise():
    halves = dict(mean=(127.5,) * 3, std=(127.5,) * 3)
    preprocessor = load_config(SMALL, {"normalization": halves}).model.data_preprocessor
    assert preprocessor == {"type": "ReIDDataPreprocessor", **halves}
    own = {"model.data_preprocessor": dict(type="ReIDDataPreprocessor", mean=(1, 2, 3))}
    preprocessor = load_config(SMALL, {"normalization": halves, **own}).model.data_preprocessor
    assert preprocessor.mean == (1, 2, 3) and preprocessor.std == (127.5,) * 3
    with pytest.raises(InputError, match=r"normalization\.std"):
        load_config(SMALL, {"normalization": dict(std=(127.5, 0, 1))})
