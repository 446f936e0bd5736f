"""A small configuration folder and a root of experiments, as the real ones are built."""

from __future__ import annotations

from pathlib import Path

import pytest

FILES = {
    "conf/train.yaml": """
        # Trains something small.
        defaults:
          - _self_
          - corpus: ???
          - protocol: by_corpus/${corpus}
          - student: large
          - teacher: null
          - experiments: null
          - scale: paper

        experiment: null # name of the run
        fold: 0
        rate: 0.5
        refit: false # train twice
        paths:
          runs: runs
          cache: ${paths.runs}/cache
        tags: {}
        teacher: null
    """,
    "conf/corpus/archive.yaml": "# Far away.\nname: archive\nroot: ???\n",
    "conf/corpus/demo.yaml": "# Made here.\nname: demo\n",
    "conf/corpus/ravdess.yaml": "# On disk.\nname: ravdess\nroot: ???\n",
    "conf/protocol/five.yaml": "_target_: pathlib.PurePath\nvalidation: next_fold\n",
    "conf/protocol/six.yaml": "_target_: pathlib.PurePath\nvalidation: next_fold\n",
    "conf/protocol/by_corpus/archive.yaml": "defaults:\n  - /protocol/six@_here_\n",
    "conf/protocol/by_corpus/demo.yaml": "defaults:\n  - /protocol/six@_here_\n",
    "conf/protocol/by_corpus/ravdess.yaml": "defaults:\n  - /protocol/five@_here_\n",
    "conf/frontend/mfcc.yaml": "# Cepstra.\nfilters: 13\n",
    "conf/frontend/mel.yaml": "# Bands.\nfilters: 64\n",
    "conf/student/large.yaml": "# Large.\ndefaults:\n  - /frontend@frontend: mfcc\n  - _self_\nwidth: 60\n",
    "conf/student/small.yaml": "# Small.\ndefaults:\n  - large\n  - _self_\nwidth: 39\n",
    "conf/teacher/resnet.yaml": "# Residual.\nlayers: 18\n",
    "conf/teacher/tiny.yaml": "# Tiny.\nlayers: 2\n",
    "conf/scale/paper.yaml": "# @package _global_\n# Published sizes.\n",
    "conf/scale/tiny.yaml": "# @package _global_\n# For tests.\ndefaults:\n  - override /teacher: tiny\nrate: 0.1\n",
    "experiments/paper/one.yaml": """
        # @package _global_
        # The first experiment. ser-kd train experiments=paper/one
        defaults:
          - override /corpus: demo
          - override /teacher: resnet
          - override /frontend@student.frontend: mel
        student:
          width: 9
    """,
    "experiments/paper/two.yaml": """
        # On top of the first, with a protocol of its own; no package header.
        defaults:
          - /experiments/paper/one
          - _self_
          - override /protocol: five
        fold: 3
    """,
    "experiments/paper/sweeps/search.yaml": "method: grid\n",
}


def write_files(folder: Path, files: dict[str, str]) -> Path:
    from textwrap import dedent

    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with ``conf/`` and ``experiments/``."""
    return write_files(tmp_path / "place", FILES)


@pytest.fixture
def write():
    """Writes files below a folder: ``write(folder, {name: text})``."""
    return write_files
