"""One of two processes that Lightning starts from this very file; what happens in them is the first argument."""

from __future__ import annotations

import os
import sys
import time

from omegaconf import OmegaConf

from ser_kd.contracts.errors import DataError
from ser_kd.runtime import console, process_group
from ser_kd.runtime.process_start import join_processes

NODE = OmegaConf.create({"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "devices": 2, "strategy": "ddp", "max_epochs": 1})


def main(what: str) -> int:
    with join_processes(NODE):
        rank = process_group.process_rank()
        assert process_group.count_processes() == 2
        assert process_group.compute_once(lambda: f"decided by {rank}") == "decided by 0"
        assert process_group.take_largest(3 + rank) == 4
        began = time.monotonic()
        with process_group.first_on_each_machine():
            waited = time.monotonic() - began
            time.sleep(0.5 * (rank == 0))
        assert rank == 0 or waited > 0.3
        console.show(f"hello from {rank}")
        if what == "fault" and rank == 1:
            raise DataError("The second process finds no corpus.", expected="a folder", got="nothing", remedy="copy it")
        if what == "bug" and rank == 1:
            raise KeyError("strange")
        if what == "killed" and rank == 1:
            os.kill(os.getpid(), 9)
        process_group.wait_for_all()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except DataError as fault:
        console.show_error(fault)
        sys.exit(2)
