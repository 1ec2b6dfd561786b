"""Puts what a checkout has beside the package into the wheel, below ``mmreid_uda/.mim``, as OpenMMLab's packages do.

Nothing is copied in the checkout itself, where an editable install finds it in its place. All metadata is in
``pyproject.toml`` but the README, whose links between files lead to the repository once it is on PyPI.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ("configs", "projects", "tools", "model-index.yml")
LEFT_OUT = ("__pycache__", "conftest.py", "test_")


def readme() -> str:
    """The README with whole addresses in place of the paths of files."""
    found = re.search(
        r'^Repository = "https://github.com/(.+)"', Path("pyproject.toml").read_text(), re.M
    )
    assert found is not None
    pages = f"https://github.com/{found[1]}/blob/main/"
    images = f"https://raw.githubusercontent.com/{found[1]}/main/"

    def whole(link: re.Match[str]) -> str:
        return f"{link[1]}({images if link[1].startswith('!') else pages}{link[2]})"

    text = Path("README.md").read_text(encoding="utf-8")
    return re.sub(r"(!?\[[^\]]*\])\((?!https?://|#)([^)]+)\)", whole, text)


class BuildWithTools(build_py):
    """Builds the package, and what is found by :func:`mmreid_uda.utils.files.repository` beside it."""

    def run(self) -> None:
        """Copy the files, unless the package is used from where it is."""
        super().run()
        if not self.editable_mode:
            for source, target in self.beside():
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """All files that are built."""
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, *(str(to) for _, to in self.beside())]

    def beside(self) -> Iterator[tuple[Path, Path]]:
        """Each file, and where it goes."""
        for name in BESIDE:
            for path in sorted([Path(name), *Path(name).rglob("*")]):
                if path.is_file() and not any(p.startswith(LEFT_OUT) for p in path.parts):
                    yield path, Path(self.build_lib, "mmreid_uda", ".mim", path)


setup(
    cmdclass={"build_py": BuildWithTools},
    long_description=readme(),
    long_description_content_type="text/markdown",
)
