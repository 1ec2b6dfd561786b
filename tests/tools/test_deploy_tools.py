"""From a checkpoint to a service: publish, export, run without PyTorch, search; through the command lines."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from deployment import (
    REPOSITORY,
    SMALL,
    SMALL_ARGUMENTS,
    call_tool,
    make_model,
    no_room_beyond,
    write_checkpoint,
)

from mmreid_uda.apis import ReIDInferencer
from mmreid_uda.datasets.transforms import LoadReIDImage
from mmreid_uda.visualization.tiles import read_crop

CONFIG = "configs/ise/ise_mbv2_synthb.py"


@pytest.fixture(scope="module")
def exported(checkpoint, crops, tmp_path_factory):
    """An exported model, its two files alone in a folder."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("service") / "model.onnx"
    arguments = ("--verify", *crops[:6], "--threads", 1, *SMALL_ARGUMENTS)
    call_tool("tools/deploy/export.py", CONFIG, checkpoint, path, *arguments)
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.json", "model.onnx"]
    return path


# Runs a script as a service does that has neither PyTorch nor this package: importing them fails.
ALONE = """
import runpy, sys
for name in ("torch", "mmengine", "mmcv", "mmreid_uda"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def service(exported, monkeypatch):
    """``run_onnx.py`` in this process: the sentence with which it refuses its arguments."""
    pytest.importorskip("onnxruntime")
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools" / "deploy"))
    import run_onnx

    def refuse(*arguments):
        monkeypatch.setattr(sys, "argv", ["run_onnx.py", *map(str, arguments), "--threads", "1"])
        with pytest.raises(run_onnx.DeploymentError) as caught:
            run_onnx.main()
        return str(caught.value)

    return refuse


def run_alone(folder, *arguments):
    """Run a copy of ``run_onnx.py`` in a folder of its own."""
    script = Path(folder, "run_onnx.py")
    script.write_bytes((REPOSITORY / "tools/deploy/run_onnx.py").read_bytes())
    command = [sys.executable, "-c", ALONE, script, *arguments, "--threads", "1"]
    return subprocess.run(
        [str(one) for one in command], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_a_service_without_pytorch_has_the_same_features(exported, inferencer, crops, tmp_path):
    arguments = (exported, *crops[:9], "--out", tmp_path / "f.npz", "--batch-size", 4)
    done = run_alone(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "f.npz") as written:
        features, paths = written["features"], written["paths"].tolist()
    assert paths == crops[:9]
    cosines = np.einsum("nd,nd->n", features, inferencer(crops[:9]))
    assert 1 - cosines.min() < 1e-4
    # The file is a gallery of the model in PyTorch.
    assert len(inferencer.load_gallery(tmp_path / "f.npz")) == 9
    assert inferencer.search(crops[3], 1)[0][0].path == crops[3]


def test_the_service_says_in_one_sentence_what_is_wrong(exported, crops, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(exported.read_bytes() + b" ")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for model, image, words in (
        (tmp_path / "none.onnx", crops[0], "none.onnx' does not exist"),
        (other, crops[0], "other.json' does not exist"),
        (exported, "none.jpg", "'none.jpg' does not exist"),
        (exported, cut, "cut.jpg' (0 bytes) cannot be decoded"),
        (exported, tmp_path / "empty", "found 0 images"),
    ):
        done = run_alone(tmp_path, model, image, "--out", tmp_path / "f.npz")
        assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
        assert words in done.stderr and len(done.stderr.splitlines()) == 1
    other.with_suffix(".json").write_bytes(exported.with_suffix(".json").read_bytes())
    done = run_alone(tmp_path, other, crops[0], "--out", tmp_path / "f.npz")
    assert "is not the graph that" in done.stderr


def test_the_service_reads_images_alone(exported, crops, tmp_path, service, monkeypatch):
    import run_onnx

    images = tmp_path / "images"
    (images / "folder.jpg").mkdir(parents=True)
    (images / "folder.jpg" / "b.png").write_bytes(Path(crops[1]).read_bytes())
    (images / "a.png").write_bytes(Path(crops[0]).read_bytes())
    assert run_onnx.find_images([str(images)]) == [
        str(images / "a.png"),
        str(images / "folder.jpg" / "b.png"),
    ]
    (images / "gone.jpg").symlink_to(tmp_path / "none.jpg")
    words = service(exported, images, "--out", tmp_path / "f.npz")
    assert "gone.jpg' (0 bytes) cannot be decoded" in words


def test_the_service_leaves_broken_images_out_where_asked_for(exported, crops, tmp_path):
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(Path(crops[0]).read_bytes()[:200])
    words = (exported, crops[0], cut, crops[1], "--out", tmp_path / "f.npz")
    assert "cut.jpg' (200 bytes) cannot be decoded" in run_alone(tmp_path, *words).stderr
    done = run_alone(tmp_path, *words, "--corrupt", "skip", "--batch-size", 1)
    assert done.returncode == 0 and done.stderr == f"skipped, cannot be read: {cut}\n"
    with np.load(tmp_path / "f.npz") as written:
        assert written["paths"].tolist() == crops[:2] and len(written["features"]) == 2


def test_the_service_decodes_as_training_does(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools" / "deploy"))
    import run_onnx

    ramp = np.arange(64 * 32).reshape(64, 32)
    for name, pixels in (
        ("sensor.png", (2 * ramp).astype(np.uint16)),  # 12 of 16 bits
        ("dark.png", (ramp % 200).astype(np.uint16)),
        ("colours.tif", np.dstack([30 * ramp, ramp, 7 * ramp]).astype(np.uint16)),
        ("grey.png", (ramp % 251).astype(np.uint8)),
    ):
        path = str(tmp_path / name)
        assert cv2.imwrite(path, pixels)
        expected = LoadReIDImage()({"img_path": path})["img"]
        np.testing.assert_array_equal(run_onnx.read_image(path), expected)
        np.testing.assert_array_equal(read_crop(path), expected)


def test_the_service_takes_images_and_says_what_is_none(exported, crops, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools" / "deploy"))
    import run_onnx

    extractor = run_onnx.OnnxExtractor(exported, 1)
    pixels = run_onnx.read_image(crops[0])
    [expected] = extractor([crops[0]])
    for one in (crops[0], Path(crops[0]), pixels, (pixels,), pixels[:, ::-1][:, ::-1]):
        np.testing.assert_allclose(extractor(one), expected[None], atol=1e-6)
    for wrong, words in (
        ([], "found 0 images"),
        ([None], "found a NoneType as an image"),
        (np.zeros((0, 4, 3), np.uint8), "shape (0, 4, 3)"),
        (np.stack([pixels, pixels]), "shape (2, "),
        (pixels.astype(np.float32), "array of float32"),
        (pixels[..., 0], "expected an image as cv2.imread gives it"),
        ("none.jpg", "cannot be decoded"),
    ):
        with pytest.raises(run_onnx.DeploymentError) as caught:
            extractor(wrong)
        assert words in str(caught.value)
    run = extractor.session.run
    monkeypatch.setattr(extractor, "session", None)
    extractor.session = type(
        "Broken", (), {"run": lambda self, *words: [run(*words)[0] * np.nan]}
    )()
    with pytest.raises(run_onnx.DeploymentError, match="features of 1 of 1 images are not finite"):
        extractor(pixels)


@pytest.mark.parametrize(
    "content, words",
    [
        ('{"onnx_sh', "is no JSON"),
        ("[]", "lacks onnx_sha256, fingerprint, input"),
        ('{"onnx_sha256": "0", "fingerprint": "1"}', "lacks input"),
        ('{"onnx_sha256": "0", "fingerprint": "1", "input": {"name": "x"}}', "lacks width, height"),
        ('{"onnx_sha256": "0", "fingerprint": "1", "input": 3}', "lacks name, width, height"),
    ],
)
def test_a_description_of_something_else_is_told(
    exported, crops, tmp_path, service, content, words
):
    (tmp_path / "m.onnx").write_bytes(b"graph")
    (tmp_path / "m.json").write_text(content)
    said = service(tmp_path / "m.onnx", crops[0], "--out", tmp_path / "f.npz")
    assert words in said and "copy both files of one export" in said


def test_the_service_checks_its_options_before_the_work(
    exported, crops, tmp_path, service, monkeypatch
):
    import run_onnx

    monkeypatch.setattr(run_onnx.OnnxExtractor, "__call__", lambda *args: pytest.fail("worked"))
    (tmp_path / "file").touch()
    for out, batch, words in (
        (tmp_path / "file" / "x.npz", 4, "cannot be written (File exists)"),
        (tmp_path / "name", 4, "expected a name in .npz"),
        (tmp_path / "x.npz", 0, "found --batch-size 0, expected at least 1"),
        ("/proc/x.npz", 4, "cannot be written"),
        (tmp_path / f"{300 * 'n'}.npz", 4, "cannot be written (File name too long)"),
    ):
        said = service(exported, crops[0], "--out", out, "--batch-size", batch)
        assert words in said
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_features_that_were_not_written_leave_the_old_file(
    exported, crops, tmp_path, monkeypatch, service
):
    import run_onnx

    out = tmp_path / "x.npz"
    out.write_bytes(b"old")
    monkeypatch.setattr(run_onnx.np, "savez", lambda file, **arrays: file.write(b"h") and 1 / 0)
    monkeypatch.setattr(run_onnx.OnnxExtractor, "__call__", lambda *args: np.zeros((1, 2)))
    with pytest.raises(ZeroDivisionError):
        service(exported, crops[0], "--out", out)
    assert out.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_places_that_cannot_be_written_are_told_before_the_work(checkpoint, tmp_path, capsys):
    (tmp_path / "file").touch()
    for tool, out in (("publish_model", "file"), ("export", "file/m.onnx")):
        with pytest.raises(SystemExit) as stopped:
            call_tool(
                f"tools/deploy/{tool}.py", CONFIG, checkpoint, tmp_path / out, *SMALL_ARGUMENTS
            )
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and "cannot be written" in error, error


def test_a_graph_that_overflows_is_a_sentence(
    exported, checkpoint, crops, tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools" / "deploy"))
    import run_onnx

    def overflow(self, *words, **options):
        raise run_onnx.DeploymentError("the features of 2 of 2 images are not finite")

    monkeypatch.setattr(run_onnx.OnnxExtractor, "__call__", overflow)
    with pytest.raises(SystemExit) as stopped:
        call_tool(
            "tools/deploy/export.py", CONFIG, checkpoint, tmp_path / "m.onnx",
            "--verify", *crops[:2], *SMALL_ARGUMENTS,
        )  # fmt: skip
    assert stopped.value.code == 2 and "are not finite" in capsys.readouterr().err


def test_a_disk_that_fills_leaves_no_half_of_a_model(checkpoint, tmp_path, capsys):
    for tool, out in (("publish_model", tmp_path / "out"), ("export", tmp_path / "m.onnx")):
        if tool == "export":
            pytest.importorskip("onnx")
        with no_room_beyond(100_000), pytest.raises(SystemExit) as stopped:
            call_tool(f"tools/deploy/{tool}.py", CONFIG, checkpoint, out, *SMALL_ARGUMENTS)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and "cannot be written" in error, error
        assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


def test_a_graph_that_differs_is_not_deployed(
    exported, checkpoint, crops, tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools" / "deploy"))
    import run_onnx

    prepare = run_onnx.OnnxExtractor.prepare
    double = lambda self, image: prepare(self, image)[..., ::-1].copy()  # noqa: E731  RGB
    monkeypatch.setattr(run_onnx.OnnxExtractor, "prepare", double)
    arguments = (CONFIG, checkpoint, tmp_path / "m.onnx", "--verify", *crops[:4], *SMALL_ARGUMENTS)
    with pytest.raises(SystemExit) as stopped:
        call_tool("tools/deploy/export.py", *arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "differ by up to" in error and "do not deploy" in error


def test_a_published_model_is_the_tested_weights_under_their_hash(
    checkpoint, inferencer, crops, tmp_path, capsys
):
    folder = tmp_path / "published"
    call_tool("tools/deploy/publish_model.py", CONFIG, checkpoint, folder, *SMALL_ARGUMENTS)
    [path] = folder.iterdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"ise_mbv2_synthb-{digest[:8]}.pth" and str(path) in capsys.readouterr().out
    content = torch.load(path, weights_only=True)
    assert all(name.startswith("encoder.") for name in content["state_dict"])
    assert content["meta"]["epoch"] == 7 and content["meta"]["config"] == "ise_mbv2_synthb"
    slim = ReIDInferencer("ise_mbv2_synthb", path, "cpu", options=SMALL)
    assert slim.fingerprint == inferencer.fingerprint == content["meta"]["fingerprint"]
    np.testing.assert_array_equal(slim(crops[:3]), inferencer(crops[:3]))


def test_a_named_model_has_a_card(checkpoint, tmp_path, capsys):
    arguments = ("--half", "--name", "shop", *SMALL_ARGUMENTS)
    call_tool("tools/deploy/publish_model.py", CONFIG, checkpoint, tmp_path, *arguments)
    path, card = tmp_path / "shop.pth", json.loads((tmp_path / "shop.json").read_text())
    assert sorted(tmp_path.iterdir()) == [tmp_path / "shop.json", path]
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["bytes"] == path.stat().st_size < 0.55 * 2**20 * 9
    assert card["config"] == "ise_mbv2_synthb" and card["epoch"] == 7 and card["seed"] is None
    assert card["torch"] == torch.__version__ and 0 < card["rounding"] < 1e-4
    rounded = ReIDInferencer("ise_mbv2_synthb", path, "cpu", options=SMALL)
    assert rounded.fingerprint == card["fingerprint"]
    with pytest.raises(SystemExit):
        call_tool(
            "tools/deploy/publish_model.py", CONFIG, checkpoint, tmp_path, "--name", "../shop"
        )
    assert "expected letters, digits, _ and -" in capsys.readouterr().err


def test_what_half_precision_spoils_is_not_published(tmp_path, capsys):
    model = make_model(CONFIG)
    kernel, norm, _ = model.encoder.backbone.features[18]
    kernel.weight.data *= 1e7  # too large for half precision, and the norm makes up for it
    norm.running_mean *= 1e7
    norm.running_var *= 1e14
    checkpoint = write_checkpoint(tmp_path / "epoch_1.pth", model)
    with pytest.raises(SystemExit):
        arguments = ("--half", *SMALL_ARGUMENTS)
        call_tool("tools/deploy/publish_model.py", CONFIG, checkpoint, tmp_path / "out", *arguments)
    assert "publish without --half" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


PROJECT = """
import torch
from mmreid_uda.models.algorithms import ISE
from mmreid_uda.registry import MODELS


@MODELS.register_module(force=True)
class Projected(ISE):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.projection = torch.nn.Linear(1280, 8)

    def extract_feat(self, inputs):
        return self.projection(super().extract_feat(inputs))
"""


def test_a_model_that_tests_more_than_it_says_is_not_published(tmp_path, monkeypatch, capsys):
    (tmp_path / "projected.py").write_text(PROJECT)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tmp_path / "projected_mbv2_synthb.py"
    config.write_text(
        f"_base_ = '{REPOSITORY / CONFIG}'\n"
        "custom_imports = dict(imports=['projected'])\nmodel = dict(type='Projected')\n"
    )
    checkpoint = write_checkpoint(tmp_path / "epoch_1.pth", make_model(config))
    with pytest.raises(SystemExit):
        call_tool("tools/deploy/publish_model.py", config, checkpoint, tmp_path / "published")
    assert "tested_encoders" in capsys.readouterr().err
    assert list((tmp_path / "published").iterdir()) == []
