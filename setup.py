"""Puts what a checkout has beside the package into the wheel, below ``mmreid_uda/.mim``, as OpenMMLab's packages do.

Nothing is copied in the checkout itself, where an editable install finds it in its place. All metadata is in
``pyproject.toml``.
"""

from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ("configs", "projects", "tools", "model-index.yml")
LEFT_OUT = ("__pycache__", "conftest.py", "test_")


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


setup(cmdclass={"build_py": BuildWithTools})
