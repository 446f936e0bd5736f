"""A tiny corpus, teacher and request for a cache; as a script, one of several processes that build the same cache at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Outputs
from ser_kd.contracts.records import TeacherRecord
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.by_speaker import LeaveOneSpeakerOut
from ser_kd.distill.cache_spec import CacheSpec
from ser_kd.distill.objective import Objective
from ser_kd.distill.teacher_ensemble import TeacherEnsemble
from ser_kd.distill.teacher_member import TeacherMember
from ser_kd.distill.views import Views
from ser_kd.functional.masking import clear_padding, lengths_to_mask, masked_mean
from ser_kd.losses.attention_transfer import AttentionTransfer
from ser_kd.losses.soft_targets import SoftTargets
from ser_kd.tasks.teacher_cache import CacheRequest, open_cache
from ser_kd.transforms.chain import Chain
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.gaussian_noise import GaussianNoise
from tests.conftest import speech_like

HOP = 80


class Tiny(nn.Module):
    """Frames of 80 samples, two hidden layers, their mean, a head; counts the clips it hears."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.low, self.high, self.head = nn.Linear(HOP, 6), nn.Linear(6, 5), nn.Linear(5, 2)
        self.clips = 0

    def forward(self, inputs: ModelInput) -> Outputs:
        self.clips += len(inputs.waveforms)
        samples = clear_padding(inputs.waveforms, inputs.lengths)
        frames = nn.functional.pad(samples, (0, -samples.shape[1] % HOP)).unfold(1, HOP, HOP) * 20
        mask = lengths_to_mask((inputs.lengths + HOP - 1) // HOP, frames.shape[1])
        low = self.low(frames).tanh()
        high = self.high(low).tanh()
        embedding = masked_mean(high, mask)
        return Outputs(self.head(embedding) * 9, None, embedding, {"first": embedding[:, :2]}, high, {1: low, 2: high}, mask)


def write_corpus(folder: Path, louder: float = 1.0) -> Path:
    """12 clips of other lengths, 4 speakers."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["path,label,speaker"]
    for number in range(12):
        clip = speech_like(number, 0.03 + 0.007 * number) * (louder if number == 0 else 1.0)
        soundfile.write(folder / f"clip{number:02d}.wav", clip, 16_000)
        rows.append(f"clip{number:02d}.wav,{('angry', 'sad')[number % 2]},s{number // 3}")
    (folder / "my.csv").write_text("\n".join(rows) + "\n")
    return folder / "my.csv"


def make_data(corpus: Path, **options: Any) -> SpeechDataModule:
    options = {"batch_size": 4, **options}
    data = SpeechDataModule(ManifestCsvCorpus(corpus), LeaveOneSpeakerOut(), cache_dir=corpus.parent / "cache", **options)
    data.setup()
    return data


def make_teacher(members: int = 1, seed: int = 0, **options: Any) -> TeacherEnsemble:
    heard: tuple[list[str], ...] = (["s2"], ["s3"], [])
    made = [
        TeacherMember(Tiny(seed + n), TeacherRecord(f"m{n}", "paper/teacher", f"paper/teacher/{n}", None, heard[n], 9))
        for n in range(members)
    ]
    return TeacherEnsemble(made, ("angry", "sad"), **options)


def listening(*losses: nn.Module) -> Objective:
    return Objective({f"term{number}": {"loss": loss} for number, loss in enumerate(losses or (SoftTargets(temperature=2.0),))})


FRAMES = (SoftTargets(temperature=2.0), AttentionTransfer(4), AttentionTransfer(4, student_layer=1, teacher_layer=1))


def make_request(corpus: Path, root: Path, **changes: Any) -> CacheRequest:
    given: dict[str, Any] = {
        "spec": CacheSpec(), "teacher": make_teacher(), "data": None, "objective": listening(), "views": Views(),
        "views_identity": {}, "root": root,
    }  # fmt: skip
    given |= changes
    given["data"] = given["data"] or make_data(corpus, key_epochs=given["spec"].views)
    return CacheRequest(**given)


def clips_heard(teacher: TeacherEnsemble) -> int:
    return sum(member.model.clips for member in teacher.members)


def augmentation() -> Views:
    return Views(
        both=Chain([GaussianNoise(0.01, 0.02, 1.0), Gain(0.3, 2.0, 1.0)]), student=Gain(slot="student"), teacher=Gain(slot="teacher")
    )


def main(corpus: Path, root: Path) -> None:
    """Wait for a line, then build; prints rows built and clips heard."""
    torch.set_num_threads(1)
    request = make_request(corpus, root, data=make_data(corpus, evaluation_batch_size=1), spec=CacheSpec(views=4), views=augmentation())
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps([open_cache(request).built, clips_heard(request.teacher)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
