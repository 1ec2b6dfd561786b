"""``--cfg-options``: a value is what was meant, and nothing of a path is lost."""

import pytest

from mmreid_uda.cli import parse_options
from mmreid_uda.cli.options import parse_value
from mmreid_uda.config import load_config


@pytest.mark.parametrize(
    "text, value",
    [
        # 1: words
        ("True", True),
        ("false", False),
        ("none", None),
        ("", ""),
        # 2: what Python reads
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("-3", -3),
        ("(64,32)", (64, 32)),
        ("[[1,2],[3]]", [[1, 2], [3]]),
        ("{'a': [1, None]}", {"a": [1, None]}),
        ("dict(a=1, b=['x', none])", {"a": 1, "b": ["x", None]}),
        ("[dict(type=Resize,scale=(64,128))]", [{"type": "Resize", "scale": (64, 128)}]),
        ("'12'", "12"),
        ('"[old]"', "[old]"),
        # 3: brackets around words
        ("[syntha,synthb]", ["syntha", "synthb"]),
        ("( a b , c)", ("a b", "c")),
        ("[[a,1],(b,)]", [["a", 1], ("b",)]),
        ("['a,b',c d,none]", ["a,b", "c d", None]),
        ("[it's, fine]", ["it's", "fine"]),
        # 4: commas without brackets
        ("64,32", [64, 32]),
        ("1,True,none", [1, True, None]),
        ("'a','b'", ["a", "b"]),
        ("(1,2),(3,4)", [(1, 2), (3, 4)]),
        # 5: texts
        ("/tmp/my data", "/tmp/my data"),
        (" /tmp/x ", " /tmp/x "),
        ("/tmp/a,b", "/tmp/a,b"),
        ("photos,2024", "photos,2024"),
        ("a=b=c", "a=b=c"),
        ("it's, fine", "it's, fine"),
        ("[old] data/run(1)", "[old] data/run(1)"),
        ("[1", "[1"),
        ("(128,(64)", "(128,(64)"),
        ("256x128", "256x128"),
        ("0001", "0001"),
        ("C:\\new", "C:\\new"),
        ("nan", "nan"),
        ("1e400", "1e400"),
        ("b'x'", "b'x'"),
        ("dict(**x)", "dict(**x)"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_a_text_becomes_a_value(text, value):
    read = parse_value(text)
    assert read == value and type(read) is type(value)
    assert parse_options([f"a.b={text}"]) == {"a.b": value}


@pytest.mark.parametrize("text", ["nonsense", "=5", "a..b=5", ".a=5"])
def test_a_text_that_is_no_pair_is_an_error_of_usage(text, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_options([text])
    assert stopped.value.code == 2 and "expected key=value" in capsys.readouterr().err


def test_a_folder_with_blanks_and_commas_reaches_the_dataset():
    cfg = load_config(
        "configs/ise/ise_r50_market.py", parse_options(["data_root=/data/my photos, 2024=new"])
    )
    assert cfg.train_dataloader.dataset.target.data_root == "/data/my photos, 2024=new"
