"""The wheel where there is no checkout: configs by name, plug-ins, and every step from images to a service."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
from processes import REPOSITORY

pytestmark = pytest.mark.slow

SOURCES = ("mmreid_uda", "configs", "projects", "tools", "setup.py", "pyproject.toml", "README.md")
# Eighteen rendered people at 64 x 32 pixels, one epoch.
SMALL = [
    *("work_dir=run", "data_root=data", "input_size=(64,32)", "train_cfg.max_epochs=1"),
    *("target._delete_=True", "target.name=synthb", "target.num_train_ids=12"),
    *("target.num_test_ids=6", "target.images_per_id=6"),
    *("global_batch_size=16", "num_instances=4", "iters_per_epoch=2"),
    *("encoder.norm.samples_per_group=8", "default_hooks.cluster.num_workers=0"),
    *("train_dataloader.num_workers=0", "val_dataloader.num_workers=0"),
]
SHIPPED = sorted((REPOSITORY / "mmreid_uda/checkpoint/starts").glob("*.json"))
FEATURES = """
import mmreid_uda, sys
inferencer = mmreid_uda.ReIDInferencer("ise_mbv2_synthb", "run", "cpu", options={"input_size": (64, 32)})
print(inferencer.extract(sys.argv[1]).shape, mmreid_uda.load_config("spcl_mbv2_synthb").model.type)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of the sources, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (*SOURCES, "LICENSE", "model-index.yml"):
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, folder / "sources" / name, ignore=ignored)
        elif path.exists():
            shutil.copy(path, folder / "sources")
    command = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, folder / "sources"]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run a program of a fresh environment, which sees the outer one's packages but ours, from an empty folder."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    [packages] = folder.glob("lib/python*/site-packages")
    # A path alone: the links of editable packages are not followed from there.
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib"))
    command = ["install", "-q", "--no-deps", "--no-index", "--ignore-installed", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *command], check=True)
    empty = tmp_path_factory.mktemp("empty")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["OMP_NUM_THREADS"] = "1"

    def run(program, *words):
        done = subprocess.run(
            [folder / "bin" / program, *words],
            cwd=empty,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout.strip()

    return run, empty, packages


def test_the_wheel_has_what_a_checkout_has(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("/METADATA")]
    tracked = [
        path.relative_to(REPOSITORY)
        for name in ("configs", "projects", "tools")
        for path in (REPOSITORY / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    missing = {path.name for path in tracked if f"mmreid_uda/.mim/{path}" not in names}
    assert {name for name in missing if not name.startswith(("test_", "conftest"))} == set()
    assert "mmreid_uda/.mim/model-index.yml" in names and "mmreid_uda/py.typed" in names
    assert "](configs" not in metadata and "](docs" not in metadata and "](projects" not in metadata


def test_from_an_empty_folder_to_a_service(installed):
    run, empty, packages = installed
    assert run("python", "-c", "import mmreid_uda; print(mmreid_uda.__file__)").startswith(
        str(packages)
    )
    listed = run("mmreid", "configs", "ise_mbv2*")
    assert "ise_mbv2_synthb" in listed and "r50" not in listed
    run("mmreid", "train", "ise_mbv2_synthb", "--cfg-options", *SMALL)
    assert json.loads((empty / "run" / "results.json").read_text())["last_epoch"] == 1
    images = next(path for path in (empty / "data").rglob("query"))
    assert run("python", "-c", FEATURES, images).endswith(", 1280) SpCL")
    run(
        "mmreid",
        "export",
        "ise_mbv2_synthb",
        "run",
        "model.onnx",
        "--cfg-options",
        "input_size=(64,32)",
    )
    assert (empty / "model.onnx").stat().st_size > 1e6
    for card in SHIPPED:
        address = f"rendered://{card.stem}"
        assert f"{len(os.listdir(images))} features of" in run(
            "mmreid", "extract", address, images, "--out", "f.npz"
        )
        (empty / "f.npz").unlink()
    assert sorted(path.name for path in empty.iterdir()) == [
        "data",
        "model.json",
        "model.onnx",
        "run",
    ]
