"""Imports run down only, from modules and not from faces, without circles."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([tool, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_layers_of_pyproject_are_kept(root):
    answer = lint_imports(root)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 kept, 0 broken" in answer.stdout


@pytest.mark.parametrize(
    ("place", "line", "named"),
    [
        ("functional/planted.py", "from ser_kd.losses import soft_targets", "ser_kd.functional.planted -> ser_kd.losses"),
        ("losses/planted.py", "from ser_kd.metrics import recalls", "ser_kd.losses.planted -> ser_kd.metrics"),
        (
            "contracts/planted.py",
            "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from ser_kd.data import dataset",
            "ser_kd.contracts.planted -> ser_kd.data",
        ),
        ("reports/planted.py", "import ser_kd.tasks.doctor", "ser_kd.reports.planted -> ser_kd.tasks"),
    ],
)
def test_a_planted_import_is_caught(root, tmp_path, place, line, named):
    shutil.copytree(root / "ser_kd", tmp_path / "ser_kd", ignore=shutil.ignore_patterns("__pycache__", "conf", "experiments"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    (tmp_path / "ser_kd" / place).write_text(f'"""Planted."""\n\n{line}\n')
    answer = lint_imports(tmp_path)
    assert answer.returncode == 1
    assert named in answer.stdout


def test_inside_the_package_one_imports_from_modules_not_from_faces(sources):
    packages = {source.module for source in sources if source.path.name == "__init__.py"}
    modules = {source.module for source in sources}
    wrong = [
        f"{source.place}:{taken.line} takes {name} from the face {taken.module}"
        for source in sources
        for taken in source.imports()
        if taken.module in packages - {"ser_kd"}
        for name in taken.names
        if f"{taken.module}.{name}" not in modules
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_are_absolute(sources):
    wrong = [f"{source.place}:{taken.line}" for source in sources for taken in source.imports() if taken.module.startswith(".")]
    assert not wrong


def find_circle(edges: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()

    def walk(module: str, trail: list[str]) -> list[str]:
        if module in trail:
            return trail[trail.index(module) :]
        if module not in done:
            for target in sorted(edges.get(module, ())):
                if circle := walk(target, [*trail, module]):
                    return circle
            done.add(module)
        return []

    return next((circle for module in sorted(edges) if (circle := walk(module, []))), [])


def test_find_circle_finds_one():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_no_circle_in_the_package_late_imports_included(sources):
    modules = {source.module for source in sources}
    edges: dict[str, set[str]] = {}
    for source in sources:
        taken = {found.module for found in source.imports()}
        taken |= {f"{found.module}.{name}" for found in source.imports() for name in found.names}
        edges[source.module] = (taken & modules) - {source.module}
    assert not find_circle(edges), " -> ".join(find_circle(edges))
