"""Which rule of Optuna's stops the trials that fall behind."""

from __future__ import annotations

import optuna

from ser_kd.sweeps.sweep_file import SweepFile


def make_pruner(sweep: SweepFile, stopping: str, epochs: int) -> optuna.pruners.BasePruner:
    """Give what stops trials early.

    W&B's hyperband has one ladder of bands, min_iter x eta^k, at each of which a trial goes on that is among the best 1 / eta so far.
    That is Optuna's ``SuccessiveHalvingPruner``; its ``HyperbandPruner`` draws one of several ladders for each trial instead, most of
    which begin later. What differs: of n values at a band W&B lets int(n / eta) + 1 go on, here n // eta (the best alone, while
    there are fewer than eta); W&B asks again after each further epoch, here a trial is asked once per band; bands that are counted
    down from max_iter and s are rounded to a ladder upwards from the lowest.
    """
    if stopping == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(epochs // 5, 1))
    if stopping == "hyperband" and sweep.hyperband is not None:
        return optuna.pruners.SuccessiveHalvingPruner(sweep.hyperband.min_epochs, reduction_factor=sweep.hyperband.eta)
    return optuna.pruners.NopPruner()
