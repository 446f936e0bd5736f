"""The source files of the package, parsed, for the tests of its architecture."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported module; ``names`` are what ``from … import`` takes from it."""

    module: str
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class SourceFile:
    """One module of the package; ``place`` is its path below ``ser_kd/``."""

    path: Path
    place: str
    module: str
    tree: ast.Module

    def imports(self) -> list[Import]:
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [Import(alias.name, (), node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append(Import("." * node.level + (node.module or ""), tuple(alias.name for alias in node.names), node.lineno))
        return found


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[SourceFile]:
    package = ROOT / "ser_kd"
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(SourceFile(path, path.relative_to(package).as_posix(), module, ast.parse(path.read_text(encoding="utf-8"))))
    assert len(found) > 40
    return found
