"""Two Ray nodes on loopback, the one on which a training runs dies; run in a network namespace of its own, for Ray listens everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}  # fmt: skip

import psutil
from ray._private.utils import get_ray_address_file
from ray.cluster_utils import Cluster


def wait_for(look: Callable[[], list[Path]], command: subprocess.Popen) -> Path:
    deadline = time.monotonic() + 120
    while not (found := look()):
        if command.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"nothing came: exit code {command.poll()}")
        time.sleep(0.1)
    return found[0]


def main(runs: Path, words: list[str]) -> int:
    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)  # which ray takes for granted
    sockets = tempfile.mkdtemp(prefix="ray")  # in a path as short as sockets want it
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": sockets, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        command = subprocess.Popen(
            [sys.executable, "-m", "ser_kd", "cross-validate", *words, "launcher=ray", f"launcher.address={cluster.address}"]
        )
        checkpoint = wait_for(lambda: list(runs.glob("demo/teacher/*/fold=0/seed=0/checkpoints/last.ckpt")), command)
        worker = psutil.Process(int((checkpoint.parents[1] / ".lock").read_text()))
        node = worker.parent()
        assert node is not None
        assert node.name() == "raylet"
        for process in (node, *node.children(recursive=True)):
            process.kill()
        print(f"killed node {node.pid} and worker {worker.pid}", flush=True)
        return command.wait(timeout=240)
    finally:
        cluster.shutdown()
        shutil.rmtree(sockets, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
