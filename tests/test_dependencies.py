"""What the package and its tools import is what ``pyproject.toml`` declares."""

import ast
import re
import sys

import tomllib
from processes import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
# Modules that are not named like the distribution they come from.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "faiss": "faiss-cpu",
    "mmcv": "mmcv-lite",
    "qdrant_edge": "qdrant-edge-py",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}
# What a flag names the folder of, to be measured beside.
PEERS = {"rank_cy"}
# Asked for by name where a config or a flag names them, by import_package.
BY_NAME = re.compile(r'import_package\(\s*"(\w+)')


def declared(requirements):
    return {re.match(r"[\w.-]+", one)[0].lower().replace("_", "-") for one in requirements}


REQUIRED = declared(PROJECT["dependencies"])
EXTRAS = declared(one for extra in PROJECT["optional-dependencies"].values() for one in extra)


def imports(tree, inside=False):
    """Modules that a file imports, and whether only when a function is called or for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, inside
        else:
            later = isinstance(node, (ast.FunctionDef, ast.If, ast.Try))
            yield from imports(node, inside or later)


def foreign():
    """(file, distribution, whether only when it is needed) of all imports of other packages."""
    for folder in ("mmreid_uda", "tools"):
        files = list((REPOSITORY / folder).rglob("*.py"))
        own = (
            {"mmreid_uda", "projects", *PEERS}
            | {path.stem for path in files}
            | {p.parent.name for p in files}
        )
        for path in files:
            text = path.read_text(encoding="utf-8")
            found = set(imports(ast.parse(text))) | {(name, True) for name in BY_NAME.findall(text)}
            for name, later in found:
                name = name.partition(".")[0]
                if name not in own | sys.stdlib_module_names:
                    # Compiled kernels are imported where numba is installed, the server where it is started.
                    later = later or path.stem.endswith(("kernels", "_numba")) or folder == "tools"
                    later = later or path.parent.name == "serve"
                    yield path, DISTRIBUTIONS.get(name, name.replace("_", "-")), later


def test_every_import_is_declared():
    wrong = {
        (str(path.relative_to(REPOSITORY)), name)
        for path, name, later in foreign()
        if name not in (REQUIRED | EXTRAS if later else REQUIRED)
    }
    assert not wrong


def test_every_requirement_is_imported():
    assert REQUIRED & {name for _, name, _ in foreign()} == REQUIRED
