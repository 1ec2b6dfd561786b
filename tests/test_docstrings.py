"""Every public function, class and method says what it takes, what it gives and what it refuses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "mmreid_uda"

# Methods that libraries declare, and document: base -> methods. Of these only what they refuse is asked for.
LIBRARY_METHODS = {
    r"\w*Hook": r"(before|after)_\w+",
    r"BaseTransform": r"transform",
    r"BaseDataset": r"get_subset_?",
    r"ArgumentParser": r"error|parse_known_args",
    r"\w*": r"extra_repr|state_dict|load_state_dict|init_weights",
}
# Arguments of all modules of mmengine.
COMMON = {"self", "cls", "init_cfg"}
# The beginning of a docstring that hands on to that of another function.
REFERENCE = re.compile(r"(As|See) (for |in )?:(meth|func|class):")


class Definition(NamedTuple):
    """A function, class or method; of a class the function is ``__init__``."""

    name: str
    doc: str
    function: ast.FunctionDef | None
    bases: list[str]


def definitions(source: str) -> Iterator[Definition]:
    """The functions and classes of a module, and their methods."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not _decorated(node, "overload"):
            yield Definition(node.name, ast.get_docstring(node) or "", node, [])
        if isinstance(node, ast.ClassDef):
            bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            init = next((one for one in methods if one.name == "__init__"), None)
            yield Definition(node.name, ast.get_docstring(node) or "", init, bases)
            for one in methods:
                if not _decorated(one, "property|setter|overload"):
                    doc = ast.get_docstring(one) or ""
                    yield Definition(f"{node.name}.{one.name}", doc, one, bases)


def _decorated(function: ast.FunctionDef, words: str) -> bool:
    return any(re.search(words, ast.unparse(one)) for one in function.decorator_list)


def lacks(one: Definition, package: dict[str, Definition]) -> list[str]:
    """What is missing in a docstring: itself, parameters, sections."""
    # The docstring of a route is what its clients read; what it takes, its annotations tell them.
    route = one.function is not None and _decorated(one.function, r"^router\.")
    if not one.doc or one.function is None or route:
        return [] if one.doc else ["docstring"]
    nodes, sections = list(_own_nodes(one.function)), re.findall(r"^(\w+):$", one.doc, re.M)
    raised = [ast.unparse(node.exc) for node in nodes if isinstance(node, ast.Raise) and node.exc]
    missing = []
    if any(error.startswith("InputError(") for error in raised) and "Raises" not in sections:
        missing.append("Raises")
    if REFERENCE.match(one.doc) or _declared_elsewhere(one, package):
        return missing
    missing += sorted(_parameters(one.function) - _documented(one.doc))
    for kind, section in ((ast.Return, "Returns"), (ast.Yield, "Yields")):
        values = [node.value for node in nodes if isinstance(node, kind) and node.value]
        gives = any(ast.unparse(value) != "None" for value in values)
        if gives and section not in sections:
            missing.append(section)
    return missing


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """All nodes of a function but those of functions inside it."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def _parameters(function: ast.FunctionDef) -> set[str]:
    found = function.args
    several = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
    return {one.arg for one in several if one} - COMMON


def _documented(doc: str) -> set[str]:
    """Names at the start of the lines of the section ``Args``."""
    section = re.search(r"^Args:\n((?: +.*\n?|\n)*)", doc, re.M)
    lines = re.findall(r"^ {4}([*\w, ]+):", section[1], re.M) if section else []
    return {name for line in lines for name in re.findall(r"\w+", line)}


def _declared_elsewhere(one: Definition, package: dict[str, Definition]) -> bool:
    """Whether a method takes what that of a base takes, which says so, be it of this package or of a library."""
    owner, _, method = one.name.rpartition(".")
    todo, seen = list(one.bases) if owner else [], {owner}
    while todo:
        base = todo.pop()
        if base in seen:
            continue
        seen.add(base)
        for pattern, methods in LIBRARY_METHODS.items():
            if re.fullmatch(pattern, base) and re.fullmatch(methods, method):
                return True
        found = package.get(f"{base}.{method}")
        if found and found.function and not lacks(found, package):
            assert one.function is not None
            if _parameters(one.function) <= _parameters(found.function):
                return True
        todo += package[base].bases if base in package else []
    return False


SOURCES = {
    str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}


@pytest.fixture(scope="module")
def package() -> dict[str, Definition]:
    return {one.name: one for source in SOURCES.values() for one in definitions(source)}


@pytest.mark.parametrize("path", SOURCES)
def test_docstrings_are_complete(path, package):
    incomplete = {
        one.name: missing
        for one in definitions(SOURCES[path])
        if not re.search(r"(^|\.)_", one.name) and (missing := lacks(one, package))
    }
    assert not incomplete, f"the docstrings of {path} lack {incomplete}"


COMPLETE = '''
class Base:
    """One."""

    def area(self, size):
        """Say how large.

        Args:
            size: In pixels.

        Returns:
            Square pixels.

        Raises:
            InputError: It is negative.
        """
        if size < 0:
            raise InputError("found ...")
        return size**2

class Child(Base):
    """Two."""

    def area(self, size):
        """Twice as large."""
        return 2 * size**2
'''


@pytest.mark.parametrize(
    ("cut", "missing"),
    [
        ("", {}),
        ('"""Two."""', {"Child": ["docstring"]}),
        (
            "            size: In pixels.\n",
            {"Base.area": ["size"], "Child.area": ["Returns", "size"]},
        ),
        ("        Raises:\n", {"Base.area": ["Raises"], "Child.area": ["Returns", "size"]}),
        ("        Returns:\n", {"Base.area": ["Returns"], "Child.area": ["Returns", "size"]}),
    ],
)
def test_what_is_missing_is_found(cut, missing):
    source = COMPLETE.replace(cut, "pass" if cut.startswith('"') else "")
    found = {one.name: one for one in definitions(source)}
    lacking = {name: sorted(lack) for name, one in found.items() if (lack := lacks(one, found))}
    assert lacking == missing
