"""Whatever is wrong with a config is one sentence that says what was found, and where."""

import re
from pathlib import Path

import pytest

from mmreid_uda.config import load_config
from mmreid_uda.utils import InputError

BASE = Path("configs/cluster_contrast/cluster-contrast_mbv2_synthb.py").resolve()
ON_BASE = f"_base_ = {str(BASE)!r}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a user, with modules of their own that cannot be imported."""
    (tmp_path / "a.py").write_text("target = 'syntha'\n")
    (tmp_path / "b.py").write_text("target = 'synthb'\n")
    (tmp_path / "plug_lacks.py").write_text("import os\nimport nothing_there\n")
    (tmp_path / "plug_fails.py").write_text("def share():\n    return 1 / 0\n\n\nshare()\n")
    (tmp_path / "plug_ends.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "plug_cut.py").write_text("x = (\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "text, words",
    [
        # the file
        ("", "is empty"),
        ("_base_ = ['./a.py', './b.py']\n", "two bases that both set `target`"),
        ("_base_ = './mine.py'\n", "is its own base"),
        ("_base_ = 3\n", "cannot be read .*correct its _base_"),
        ("_base_ = './none.py'\n", r"has a _base_ that does not exist .*none\.py"),
        ("x = 1\0\n", "is not Python"),
        ("target = 'synthb'\nmodel = dict(\n", r"'\(' was never closed in line 2"),
        (ON_BASE + "if True:\n\tx = 1\n        y = 2\n", "is not Python: inconsistent use of tabs"),
        (ON_BASE + "target = foo\n", r"NameError: name 'foo' is not defined \(.*mine\.py:2\)"),
        (ON_BASE + "x = 1 / 0\n", r"ZeroDivisionError: .*mine\.py:2"),
        (ON_BASE + "raise SystemExit(3)\n", r"SystemExit: 3 \(.*mine\.py:2"),
        (ON_BASE + "import nothing_there\n", r"No module named 'nothing_there' \(.*mine\.py:2"),
        (ON_BASE + "x = {{_base_.no_such}}\n", "KeyError: no_such"),
        (ON_BASE + "filename = 'x'\n", "filename is reserved"),
        (ON_BASE + "target = dict(name='personx')\n", "add _delete_=True"),
        # plug-ins
        (
            ON_BASE + "custom_imports = dict(imports=['projects.no_such_thing'])\n",
            "names the module 'projects.no_such_thing', and there is no 'projects",
        ),
        (
            ON_BASE + "custom_imports = dict(imports=['plug_lacks'])\n",
            r"'plug_lacks' of custom_imports fails at \S*plug_lacks\.py:2 .*named 'nothing_there'",
        ),
        (
            ON_BASE + "custom_imports = dict(imports='plug_fails')\n",
            r"'plug_fails' of custom_imports fails at \S*plug_fails\.py:2 \(ZeroDivisionError",
        ),
        (
            ON_BASE + "custom_imports = dict(imports=['plug_ends'])\n",
            r"fails at \S*plug_ends\.py:2 \(SystemExit: 3",
        ),
        (ON_BASE + "custom_imports = dict(imports=['plug_cut'])\n", r"fails at \S*plug_cut\.py:1"),
        (ON_BASE + "custom_imports = dict(imports=[''])\n", "'' in custom_imports, expected the n"),
        (ON_BASE + "custom_imports = 5\n", "custom_imports=5 .* expected dict"),
        # the recipe's values
        (ON_BASE + "global_batch_size = '64'\n", "global_batch_size='64' .* whole number of at l"),
        (ON_BASE + "global_batch_size = 0\n", "global_batch_size=0 .* whole number of at least 1"),
        (ON_BASE + "global_batch_size = True\n", "global_batch_size=True .* whole number"),
        (
            ON_BASE + "num_instances = 'four'\n",
            "num_instances='four' .* whole number of at least 0",
        ),
        (
            ON_BASE + "num_instances = dict(_delete_=True, tagret=0)\n",
            r"num_instances\.tagret=0 .* `target`",
        ),
        (ON_BASE + "test = 5\n", "test=5 .* a dataset, a list"),
        (ON_BASE + "source = [1]\n", r"source=\[1\] .* a dataset, a list"),
        (ON_BASE + "target = None\n", "neither `target`, `test` nor `source`"),
        (ON_BASE + "train_cfg = dict(max_epochs=-1)\n", r"train_cfg\.max_epochs=-1 .* at least 1"),
        (ON_BASE + "randomness = dict(seed='x')\n", r"randomness\.seed='x' .* whole number"),
        (ON_BASE + "train_dataloader = dict(num_worker=1)\n", r"num_worker=1 .* `num_workers`"),
        (ON_BASE + "default_scope = 5\n", "default_scope=5 .* a text"),
        # nesting
        (ON_BASE + "model = None\n", "model=None .* a dict"),
        (ON_BASE + "default_hooks = [1]\n", r"default_hooks=\[1\] .* a dict"),
        (ON_BASE + "default_hooks = dict(cluster=5)\n", r"default_hooks\.cluster=5 .* a dict or N"),
        (
            ON_BASE + "train_pipeline = [dict(type='MultiView', transforms=[1])]\n",
            r"transforms\[0\]",
        ),
        (ON_BASE + "default_scope = 'mmnothing'\n", "default_scope='mmnothing'.*no package"),
        (ON_BASE + "train_pipeline = ['Resize']\n", r"train_pipeline\[0\]='Resize' .* a dict"),
        (ON_BASE + "model = dict(head='x')\n", r"model\.head='x' .* a dict"),
        # classes
        (ON_BASE + "model = dict(type='ClusterContrst')\n", "'ClusterContrst' .*`ClusterContrast`"),
        (ON_BASE + "model = dict(type='Resize')\n", "no such model"),
        (ON_BASE + "model = dict(type=5)\n", r"`model\.type`=5 .* the name of a class"),
        (ON_BASE + "model = dict(_delete_=True, head=1)\n", "no `type` in `model`"),
        (ON_BASE + "train_pipeline = [dict(typ='Resize')]\n", r"no `type` in `train_pipeline\[0\]"),
        (ON_BASE + "train_pipeline = [dict(type='RandomErasingBox', prob=2)]\n", r"prob=2 .*"),
        (
            ON_BASE + "optim_wrapper = dict(optimizer=dict(lr='x'))\n",
            r"optim_wrapper\.optimizer\.lr='x' .* a number of at least 0",
        ),
        (
            ON_BASE + "default_hooks = dict(cluster=dict(clusterer=dict(eps='x')))\n",
            r"clusterer\.eps='x' .* a number",
        ),
        (ON_BASE + "val_evaluator = dict(type='Accuracy', topk='x')\n", "topk='x'"),
        # keys that are missing
        ("target = 'synthb'\n", "found no `model`"),
        ("model = dict(type='ClusterContrast')\ntarget = 'synthb'\n", "found no `data_root`"),
        (ON_BASE + "global_batch_size = None\n", "global_batch_size=None"),
        (
            ON_BASE
            + "default_hooks = dict(cluster=dict(clusterer=dict(_delete_=True, type='KMeans')))\n",
            r"found no `clusterer\.num_clusters`",
        ),
    ],
)
def test_a_mistake_is_one_sentence(folder, text, words):
    (folder / "mine.py").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_config(folder / "mine.py")
    sentence = str(caught.value)
    assert "\n" not in sentence and re.search(r"; |: ", sentence) and len(sentence) < 1000


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("c.json", b'{"target": "syntha"', "is no JSON"),
        ("c.json", b"[1, 2]", "cannot be read"),
        ("c.yaml", b"a: [1\n", "is no YAML"),
        ("c.yaml", b"1: 2\n", "cannot be read"),
        ("c.txt", b"x", r"ends in \.py"),
        ("c.py", b"\xff\xfe\x00\x80", "no text in UTF-8"),
        ("c.py", "x = 'caf\xe9'".encode("latin1"), "no text in UTF-8"),
    ],
)
def test_another_kind_of_file_is_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        load_config(tmp_path / name)


@pytest.mark.parametrize("name", [None, 5, b"x", ["a.py"]])
def test_what_names_no_file_is_one_sentence(name):
    with pytest.raises(InputError, match="for load_config, expected"):
        load_config(name)


def test_an_array_is_a_size(tmp_path):
    text = ON_BASE + "import numpy as np\ninput_size = np.array([64, 32])\n"
    (tmp_path / "mine.py").write_text(text)
    steps = load_config(tmp_path / "mine.py").test_pipeline
    assert [step["scale"] for step in steps if step["type"] == "Resize"] == [(32, 64)]


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(InputError, match="found a folder"):
        load_config(tmp_path)
