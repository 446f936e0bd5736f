from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import WandbLogger

from ser_kd.runtime.tracking import end_tracking


def test_a_trainings_wandb_run_ends_with_it(tmp_path: Path) -> None:
    class Experiment:
        ended = False

        def finish(self) -> None:
            self.ended = True

    begun, idle = (WandbLogger(save_dir=tmp_path, offline=True) for _ in range(2))
    begun._experiment = experiment = Experiment()  # type: ignore[assignment]
    end_tracking([idle, begun])
    assert experiment.ended
