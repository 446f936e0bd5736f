"""Features of many clips computed in worker processes that import no torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

import numpy as np

from ser_kd.contracts.errors import DataError

if TYPE_CHECKING:  # it imports torch, which would take workers seconds
    from ser_kd.contracts.interfaces import FeatureExtractor

CLIPS_PER_WORKER = 64
"""Fewer are done before another process has started."""


def choose_workers(wanted: int | None, clips: int) -> int:
    """Give how many processes extract beside this one; 0 is this process alone, which one worker would only stand in for.

    Args:
        wanted: As configured; None is one for each processor this process may use.
        clips: How many there are to do.
    """
    if multiprocessing.current_process().daemon:  # may have no children
        return 0
    most = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen = min(most if wanted is None else wanted, clips // CLIPS_PER_WORKER)
    return chosen if chosen > 1 else 0


def extract_clips(
    extractor: FeatureExtractor, clips: Iterable[tuple[str, np.ndarray]], sample_rate_hz: int, workers: int
) -> Iterator[tuple[str, np.ndarray | str]]:
    """Extract a feature of clips, in their order.

    Workers end with this process, also where it is killed. Clips are read as they are needed.

    Args:
        extractor: Computes it.
        clips: Key and samples (T,) of each.
        sample_rate_hz: Rate of the samples.
        workers: Processes; 0 works in this one.

    Yields:
        Key and frames (F, D), or in their place why there are none.

    Raises:
        DataError: If a worker process ended on its own.
    """
    if workers == 0:
        for key, samples in clips:
            yield key, _extract(extractor, samples, sample_rate_hz)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker)
    waiting: deque[tuple[str, Future[np.ndarray | str]]] = deque()
    try:
        for key, samples in clips:
            waiting.append((key, pool.submit(_extract, extractor, samples, sample_rate_hz)))
            if len(waiting) >= 4 * workers:  # enough to keep all busy, and no more in memory
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    except BrokenProcessPool as fault:
        raise DataError(
            "A process that extracted features ended on its own.",
            expected=f"{workers} workers until all clips are done",
            got="one was killed, for its memory perhaps, or could not start",
            remedy="start again, what was done is kept; datamodule.feature_workers=0 works without other processes "
            '(a script of your own needs if __name__ == "__main__")',
        ) from fault
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def extract_texts(extractor: FeatureExtractor, texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, np.ndarray | str]]:
    """Extract a feature of texts, in their order and in this process; as ``extract_clips``.

    Args:
        extractor: Computes it, by ``extract_text``.
        texts: Key and text of each.
    """
    for key, text in texts:
        try:
            yield key, extractor.extract_text(text)  # type: ignore[attr-defined]
        except DataError as fault:
            yield key, _explain(fault)


def _extract(extractor: FeatureExtractor, samples: np.ndarray, sample_rate_hz: int) -> np.ndarray | str:
    try:
        return extractor.extract(samples, sample_rate_hz)
    except DataError as fault:
        return _explain(fault)


def _explain(fault: DataError) -> str:
    return f"{fault.problem} Expected {fault.expected}, got {fault.got}"


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # a parent that was killed tells nobody

    threading.Thread(target=follow, daemon=True).start()
