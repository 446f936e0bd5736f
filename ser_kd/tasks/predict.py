"""``ser-kd predict MODEL FILE|FOLDER|- … [KEY=VALUE …]``: what a model file says about recordings; needs no torch.

Files may be wav, flac, ogg, mp3 and whatever else libsndfile reads, of any rate and any number of channels; folders are searched
at every depth; - reads one audio file from standard input. A recording no longer than the model's window is heard whole, a longer
one in windows, the last of which ends where it ends; its answer is the mean over the windows that are not silent. Answers go to
standard output, messages to the error stream; recordings that cannot be used are told one by one, and the others go on.

keys:
  format=FORMAT     table, jsonl (JSON lines) or csv (table)
  out=FILE          write there instead: JSON lines row by row, a table or CSV whole or not at all
  per=WHAT          a row for each file or each window (file)
  window_s=SECONDS  length of a window, or whole: no windows, however long (the model's own window)
  hop_s=SECONDS     from window to window (half a window)
  abstain_below=P   no answer where no class is at least this probable (0)
  embedding=BOOL    the embedding too, in JSON lines (false)
  threads=N         threads of one answer (all cores of this process)
  provider=NAME     cpu or cuda (cpu; an fp16 model takes cuda)

exit codes: 0 all were answered, 2 a recording, the model or a word cannot be used
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from ser_kd.contracts.errors import SerKdError
from ser_kd.runtime import console
from ser_kd.tasks.predict_output import choose_format, open_rows
from ser_kd.tasks.predict_words import PredictArguments, Recording, check_out_is_free, find_recordings, read_arguments

if TYPE_CHECKING:
    from ser_kd.deploy.prediction import Prediction
    from ser_kd.deploy.predictor import Predictor
    from ser_kd.storage.audio_stream import AudioStream

_NAMES_SHOWN = 3
_REMARKS_SHOWN = 12


def run(arguments: list[str]) -> int:
    """Predict, and say in the end how many recordings that were.

    Args:
        arguments: A model file, recordings, and ``key=value`` words.

    Returns:
        0; 2 if a recording could not be answered.

    Raises:
        ConfigError: If a key or value cannot be, or the provider cannot be used.
        DataError: If the model file is missing, not ours or damaged, the rows cannot be written, or the only folder holds no audio.
    """
    asked = read_arguments(arguments)
    # late: onnxruntime takes a third of a second to import, and a typo should be told at once
    from ser_kd.deploy.predictor import Predictor
    from ser_kd.deploy.windows import resolve_window

    predictor = Predictor(asked.model, asked.provider, asked.threads, asked.abstain_below)
    metadata = predictor.metadata
    resolve_window(metadata, asked.window_s, asked.hop_s)
    with ExitStack() as stack:
        recordings, faults = find_recordings(asked.sources, stack)
        if not recordings and len(faults) == 1:
            raise faults[0]  # nothing to write rows of
        check_out_is_free(asked.out, predictor.model.path, recordings)
        rows = choose_format(asked, metadata, [recording.name for recording in recordings])
        write = stack.enter_context(open_rows(rows, asked.out))
        for fault in faults:
            console.show_error(fault)
        tally = Tally(failed=len(faults))
        advance = stack.enter_context(console.progress("predicting"))
        progress = RecordingProgress(advance, [recording.size_bytes for recording in recordings])
        for number, recording in enumerate(recordings):
            try:
                tally.count(predict_recording(predictor, recording, asked, write, partial(progress.show, number)))
            except SerKdError as fault:
                tally.failed += 1
                console.show_error(fault)
    tally.tell()
    return 2 if tally.failed else 0


def predict_recording(
    predictor: Predictor,
    recording: Recording,
    asked: PredictArguments,
    write: Callable[[Prediction], None],
    show: Callable[[AudioStream, int], None],
) -> Prediction:
    """Hear one recording in blocks and write its rows.

    Args:
        predictor: The model.
        recording: The file.
        asked: Windows and rows wanted.
        write: Takes each row.
        show: Takes the open file and the samples read so far.

    Returns:
        The answer for the whole recording.

    Raises:
        DataError: If it cannot be used; rows of windows before the fault are written by then.
    """
    # late, as in run
    from ser_kd.deploy.predictor import StreamingPredictor
    from ser_kd.storage.audio_stream import AudioStream

    with AudioStream(recording.path, recording.name) as audio:
        listener = StreamingPredictor.of_file(predictor, audio, asked.window_s, asked.hop_s)
        write_window = write if asked.per == "window" else lambda _: None
        done = 0
        for block in audio.blocks():
            for row in listener.feed(block):
                write_window(row)
            done += len(block)
            show(audio, done)
        for row in listener.finish():
            write_window(row)
    answer = listener.answer()
    if asked.per == "file":
        write(answer)
    return answer


class RecordingProgress:
    """How far the work is, measured in bytes of files, for their seconds are known only once they are open.

    Args:
        advance: Takes bytes done, bytes in all, and words.
        sizes: Bytes of each recording.
    """

    def __init__(self, advance: console.ProgressFunction, sizes: Sequence[int]) -> None:
        self._advance, self._sizes = advance, sizes
        self._before = [0, *accumulate(sizes)]

    def show(self, number: int, audio: AudioStream, samples_done: int) -> None:
        """Show how far a recording is.

        Args:
            number: Its place, from 0.
            audio: The open file.
            samples_done: Samples of each channel read so far.
        """
        part = min(1.0, samples_done / audio.samples) if audio.samples else 0.0
        words = [f"file {number + 1} of {len(self._sizes)}"] if len(self._sizes) > 1 else []
        length = f" of {audio.samples / audio.sample_rate_hz:,.0f}" if audio.samples else ""
        words.append(f"{samples_done / audio.sample_rate_hz:,.0f}{length} s")
        self._advance(self._before[number] + int(part * self._sizes[number]), self._before[-1], f"({', '.join(words)})")


@dataclass
class Tally:
    """What is told in the end.

    Args:
        failed: Files, and folders without any, that could not be answered.
    """

    failed: int = 0
    answered: int = 0
    abstained: int = 0
    audio_s: float = 0.0
    remarks: dict[str, list[str]] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def count(self, answer: Prediction) -> None:
        """Count one answered recording in."""
        self.answered += 1
        self.abstained += answer.abstained
        self.audio_s += answer.end_s
        for note in answer.notes:
            self.remarks.setdefault(note, []).append(answer.source)

    def tell(self) -> None:
        """Tell each remark once for all files that share it, then the sums."""
        took = time.perf_counter() - self.began
        for note, files in list(self.remarks.items())[:_REMARKS_SHOWN]:
            more = f" and {len(files) - _NAMES_SHOWN} more" if len(files) > _NAMES_SHOWN else ""
            console.tell(f"note: {note}: {', '.join(files[:_NAMES_SHOWN])}{more}")
        if len(self.remarks) > _REMARKS_SHOWN:
            console.tell(f"note: {len(self.remarks) - _REMARKS_SHOWN} more kinds of remarks stand in the notes of JSON lines and CSV")
        total = self.answered + self.failed
        sums = [f"{total} {'file' if total == 1 else 'files'}", f"{self.failed} failed"]
        sums += [f"{self.abstained} without an answer"] if self.abstained else []
        speed = f" (real-time factor {took / self.audio_s:.2g})" if self.audio_s else ""
        console.tell(f"{', '.join(sums)}, {self.audio_s:,.1f} s of audio in {took:,.1f} s{speed}")
