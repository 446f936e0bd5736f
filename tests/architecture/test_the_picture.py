"""ARCHITECTURE.md shows the law that import-linter keeps, and every room that stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def test_the_floors_in_the_plan_are_the_law(root: Path) -> None:
    text = (root / "ARCHITECTURE.md").read_text()
    block = re.search(r"<!-- floors:.*?-->\s*```\n(.*?)```", text, re.DOTALL)
    assert block is not None
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert block[1].splitlines() == contracts[0]["layers"]


def test_every_room_stands_on_a_floor_and_in_the_plan(root: Path) -> None:
    rooms = {path.name for path in (root / "ser_kd").iterdir() if (path / "__init__.py").is_file()}
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    on_floors = {name.strip() for layer in contracts[0]["layers"] for name in layer.split("|")}
    assert rooms <= on_floors
    listed = set(re.findall(r"^\| `(\w+)` \|", (root / "ARCHITECTURE.md").read_text(), re.MULTILINE))
    assert rooms == listed
