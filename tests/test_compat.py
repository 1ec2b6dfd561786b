"""Version checks, package look-up, torchvision on CPU, the layout of configs."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import mmengine
import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from mmreid_uda import ReIDRunner, compat, load_config
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

compat.install()


# ---------------------------------------------------------------------------------------------------------- versions


def installed(monkeypatch, *names):
    def distribution(name):
        if name not in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return name

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)


@pytest.mark.parametrize(
    "names", [("mmengine", "mmcv-lite"), ("mmengine", "mmcv"), ("onedl-mmengine", "onedl-mmcv")]
)
def test_one_family_is_fine(monkeypatch, names):
    installed(monkeypatch, *names)
    assert compat.check_versions() is None, "it raises for what does not fit together"


@pytest.mark.parametrize(
    "names",
    [("mmengine", "onedl-mmengine"), ("onedl-mmengine", "mmcv-lite"), ("mmengine", "onedl-mmcv")],
)
def test_mixed_families_are_refused(monkeypatch, names):
    installed(monkeypatch, *names)
    with pytest.raises(InputError, match="overwrite each other") as error:
        compat.check_versions()
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize(
    ("version", "fine"), [("0.10.7", True), ("0.11.0", True), ("0.10.6", False), ("1.0.0", False)]
)
def test_the_range_of_mmengine(monkeypatch, version, fine):
    monkeypatch.setattr(mmengine, "__version__", version)
    if fine:
        compat.check_versions()
    else:
        with pytest.raises(InputError, match=f"Found mmengine {version}, expected >=0.10.7,<1.0.0"):
            compat.check_versions()


# --------------------------------------------------------------------------------------------------- package look-up


def test_packages_are_found_by_distribution_and_by_module():
    assert compat.is_installed("mmcv-lite") and compat.is_installed("mmcv")
    assert not compat.is_installed("no-such-package") and not compat.is_installed("no_such_package")
    mmcv = Path(importlib.util.find_spec("mmcv").origin).parent
    assert (
        Path(compat.get_installed_path("mmcv-lite"))
        == Path(compat.get_installed_path("mmcv"))
        == mmcv
    )
    with pytest.raises(InputError, match="pip install no-such-package"):
        compat.get_installed_path("no-such-package")


def test_configs_of_other_packages_are_found(tmp_path, monkeypatch):
    package = tmp_path / "otherlib"
    (package / ".mim/configs/net").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / ".mim/configs/net/base.py").write_text("depth = 50\n")
    (package / ".mim/model-index.yml").write_text("Import: []\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(MODULE2PACKAGE, "otherlib", "otherlib")
    child = tmp_path / "child.py"
    child.write_text("_base_ = 'otherlib::net/base.py'\nwidth = 2\n")
    config = mmengine.Config.fromfile(str(child))
    assert (config.depth, config.width) == (50, 2)


# ------------------------------------------------------------------------------------------------------- torchvision


def test_torchvision_and_timm_import_after_the_repairs():
    """In a fresh process, since the shim must come before the first import."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision")
    code = (
        "from mmreid_uda import compat; compat.install(); import torchvision, timm, mmengine.utils.dl_utils as u; "
        "u.collect_env(); print('fine')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "fine", done.stderr


def test_nothing_is_declared_without_torchvision(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compat.shim_torchvision() is False


def test_a_config_is_laid_out_once(monkeypatch):
    asked = []

    def lay_out(text, style_config):
        asked.append((text, style_config["based_on_style"]))
        return text.replace(" ", ""), True

    monkeypatch.setattr(mmengine.config.config, "FormatCode", lay_out)
    compat.format_configs_once()
    config = Config(dict(a=1))
    assert {config.pretty_text for _ in range(3)} == {"a=1"} and len(asked) == 1
    config.a = 2
    assert config.pretty_text == "a=2" and [style for _, style in asked] == ["pep8"] * 2


# ---------------------------------------------------------------------------------------------------------- when


@pytest.mark.parametrize("begin", ["config", "registry", "runner", "worker"])
def test_the_repairs_are_put_in_place_where_work_begins(tiny, monkeypatch, begin):
    class Called(Exception):
        pass

    def install():
        raise Called

    cfg = load_config(tiny())
    monkeypatch.setattr(compat, "install", install)
    start = {
        "config": lambda: load_config(tiny()),
        "registry": lambda: MODELS.build(cfg.model),
        "runner": lambda: ReIDRunner.from_cfg(cfg),
        "worker": lambda: compat.start_worker(0),
    }
    with pytest.raises(Called):
        start[begin]()
