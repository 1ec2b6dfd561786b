"""The code speaks the field's words: old private terms and British spelling do not come back."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for folder in ("mmreid_uda", "tools", "projects", "configs")
    for path in (ROOT / folder).rglob("*.py")
)
OLD = {
    "figures", "count_places", "query_marks", "gallery_marks", "effort", "set_effort", "lowest_similarity",
    "with_lowest", "absorb_rows", "absorb_columns", "gather_live", "agree", "leave_processes", "supervisors",
    "opinions", "Ladder", "LadderBackbone", "Rung", "rung", "taps", "activate", "plain_features", "ready_model",
    "complaint", "complaints", "remedy", "announce", "reached", "rename_released", "set_eval_domain", "TwoViews",
    "Neighbours", "find_neighbours", "cluster_centroids",
}  # fmt: skip
BRITISH = re.compile(
    "neighbour|colour|centre|behaviour|labell|(normal|optim|initial|synchron|random|organ|visual|recogn|minim|maxim)is[ae]",
    re.IGNORECASE,
)
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()


def identifiers(path):
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(io.StringIO(file.read()).readline)
        return {token.string for token in tokens if token.type == tokenize.NAME}


@pytest.fixture(scope="module")
def names():
    return {path.relative_to(ROOT): identifiers(path) for path in FILES}


def test_old_terms_are_gone(names):
    found = {str(path): sorted(OLD & own) for path, own in names.items() if OLD & own}
    assert not found


def test_identifiers_and_files_are_american(names):
    found = {str(path): [one for one in own if BRITISH.search(one)] for path, own in names.items()}
    assert not {path: own for path, own in found.items() if own}
    assert not [path for path in names if BRITISH.search(str(path))]


def test_every_name_of_the_glossary_is_one_of_the_code(names):
    known = set().union(*names.values())
    spans = re.findall(r"`([^`]+)`", GLOSSARY)
    called = {
        word for span in spans for word in re.findall(r"[A-Za-z_]\w+", re.sub(r"'[^']*'", "", span))
    }
    folders = {path.stem for path in FILES} | {part for path in names for part in path.parts}
    metrics = {"R1", "R5", "R10", "F", "ladder", "rungs", "mmreid_uda"}
    assert len(called) > 60
    assert sorted(called - known - folders - metrics) == []
