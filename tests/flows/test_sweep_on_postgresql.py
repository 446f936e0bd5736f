"""Trials in PostgreSQL: two coordinators that meet at an empty database, and share it without doing a trial twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ser_kd.__main__ import main
from ser_kd.contracts.errors import DataError
from ser_kd.sweeps.sweep_file import Parameter, SweepFile
from ser_kd.sweeps.trial_storage import open_storage

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SWEEP = SweepFile("s", "grid", "validation/ua", True, (Parameter("a", (1, 2, 3, 4)), Parameter("b", ("x", "y", "z"))), ())
COORDINATOR = """
import json, sys, time
from ser_kd.sweeps.study import open_study
from tests.flows.test_sweep_on_postgresql import SWEEP
while time.time() < float(sys.argv[2]):
    time.sleep(0.001)
study = open_study(SWEEP, "s", sys.argv[1], {}, stopping="none", epochs=1, seed=0, most=None)
done = []
while (trial := study.take()) is not None:
    done.append([trial.number, trial.params])
    time.sleep(0.05)
    study.finish(trial, 0.5)
print(json.dumps(done))
"""


def find_server() -> Path | None:
    """The folder of initdb and postgres: of the path, or where Debian puts them."""
    places = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").is_file() and (place / "postgres").is_file()), None)


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """A server of our own on the loopback interface; gives its port."""
    binaries = find_server()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (initdb and postgres)")
    if find_spec("psycopg") is None:
        pytest.skip('psycopg is not installed: pip install "ser-kd[postgresql]"')
    folder = Path(tempfile.mkdtemp(prefix="ser_kd_postgresql_"))
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    data = folder / "data"
    subprocess.run([binaries / "initdb", "--auth=trust", "--no-sync", "--username=ser_kd", "--pgdata", data],
                   user=user, cwd=folder, check=True, capture_output=True)  # fmt: skip
    process = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"],
        user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.send_signal(signal.SIGINT)  # fast: it does not wait for those who are still connected
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: int, request: pytest.FixtureRequest) -> str:
    """An empty database; gives its URL."""
    import psycopg

    name = f"d{time.monotonic_ns()}"
    with psycopg.connect(f"postgresql://ser_kd@127.0.0.1:{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://ser_kd:secret@127.0.0.1:{server}/{name}"


def test_two_coordinators_race_on_an_empty_database_and_share_the_trials(database: str) -> None:
    start = str(time.time() + 4)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    both = [
        subprocess.Popen([sys.executable, "-c", COORDINATOR, database, start], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    first, second = (json.loads(answer) for answer in answers)
    assert first
    assert second
    done = [json.dumps(params, sort_keys=True) for _, params in [*first, *second]]
    assert sorted(done) == sorted(json.dumps(point, sort_keys=True) for point in SWEEP.list_points())


def test_a_sweep_goes_on_there_and_its_password_is_not_shown(database: str, workplace: Path, ser_kd) -> None:
    file = workplace / "on_postgresql.yaml"
    file.write_text(
        "method: grid\nmetric: {name: validation/ua, goal: maximize}\nparameters: {seed: {values: [0]}}\n"
        'command: ["${env}", ser-kd, train, experiments=demo/student, trainer.max_epochs=1, "${args_no_hyphens}"]\n'
    )
    words = ["corpus.speakers=6", "corpus.clips_per_emotion=2", "scale=tiny", "trainer.accelerator=cpu", "logger=csv"]
    line = ["sweep", str(file), *words, f"paths.runs={workplace / 'on_postgresql'}", f"storage={database}", "workers=1"]
    for told in ("1 of 1 trials are to be done", "best: trial 0"):
        code, output, errors = ser_kd(*line)
        assert code == 0, output + errors
        assert told in output + errors
        assert "secret" not in output + errors
    record = (workplace / "on_postgresql" / "sweeps").glob("*.json")
    text = next(iter(record)).read_text()
    assert "secret" not in text
    assert text.count('"finished"') == 1


def test_a_database_that_does_not_answer_is_one_message(server: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(DataError, match=r"postgresql://me:\*\*\*@127"):
        open_storage(f"postgresql://me:secret@127.0.0.1:{port}/none")
    assert main(["sweep", "demo/temperature_alpha_beta", f"storage=postgresql://me:secret@127.0.0.1:{port}/none"]) == 2
