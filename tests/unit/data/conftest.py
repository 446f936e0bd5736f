"""The published turns of IEMOCAP by name, shared by the tests of the corpus and of its protocols."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.data.corpora.iemocap import Iemocap
from ser_kd.data.manifest import Manifest
from tests.iemocap_folder import published_turns, write_iemocap


@pytest.fixture(scope="session")
def published_iemocap(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """All 10,039 turns, without sound."""
    folder: Path = write_iemocap(tmp_path_factory.mktemp("iemocap"), published_turns())
    return Iemocap(folder).read_manifest()
