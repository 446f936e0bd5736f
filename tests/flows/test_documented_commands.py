"""What the documentation tells a reader to type works as it is written."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import lightning
import pytest
import soundfile

from tests.conftest import speech_like, write_emodb, write_ravdess
from tests.iemocap_folder import write_iemocap
from tests.msp_podcast_folder import write_msp_podcast
from tests.published_models import save_odyssey, save_wav2vec2
from tests.tiny_models import RATE, write_tiny_model

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "experiments").glob("*/README.md"))]
# what a reader on a small machine would add or write instead
QUICK = ["scale=tiny", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=csv"]
QUICK_CLIP = ["datamodule.clip_samples=16000"]
QUICK_EXPORT = [
    "gates.int8.ua_change=null",
    "gates.int8.argmax_agreement=null",
    "gates.int8.max_difference=1",
]  # of a model that learnt nothing
QUICK_BENCHMARK = ["seconds=1", "threads=1", "engines=onnx_fp32", "rounds=2", "budget=0.2", "scale=tiny"]
MADE_ELSEWHERE = {"demo"}  # the Makefile's own first target, too long to repeat here


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def test_pages_hold_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_words_that_are_not_ours_exist(page: Path) -> None:
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[0].split()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for words in commands(page):
        match words:
            case ["make", target]:
                assert target in {*targets, ".venv"}
            case ["export", _] | ["ser-kd", *_]:
                pass
            case _:
                pytest.fail(f"{page.name} tells to type {shlex.join(words)}, which no test knows")
    for named in re.findall(r"ser-kd\[([a-z,]+)\]", page.read_text()):
        assert set(named.split(",")) <= set(extras)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_runs(page: Path, ser_kd, workplace: Path, manifest_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ravdess = workplace / "ravdess"
    if not ravdess.exists():
        write_ravdess(ravdess, statements=(1,), seconds=0.3)
    emodb = workplace / "documented_emodb"
    if not emodb.exists():
        write_emodb(emodb, seconds=0.3, most=1)
    iemocap = workplace / "documented_iemocap"
    if not iemocap.exists():
        write_iemocap(iemocap, seconds=0.05)
    msp_podcast = workplace / "documented_msp_podcast"
    if not msp_podcast.exists():
        write_msp_podcast(msp_podcast, seconds=0.05)
    recordings = workplace / "recordings"
    recordings.mkdir(exist_ok=True)
    soundfile.write(recordings / "0001.wav", speech_like(1), 16_000)
    runs = workplace / "documented" / page.parent.name
    monkeypatch.setenv("SER_KD_RUNS", str(runs))
    (workplace / "my.csv").unlink(missing_ok=True)
    places = {
        "$RAVDESS": str(ravdess),
        "$EMODB": str(emodb),
        "$IEMOCAP": str(iemocap),
        "$MSP_PODCAST": str(msp_podcast),
        "my.csv": str(manifest_csv),
    }
    for name, save in (("dawn", save_wav2vec2), ("odyssey", save_odyssey)):
        save(workplace / f"documented_{name}")
        places[f"${name.upper()}"] = str(workplace / f"documented_{name}")
    for words in commands(page):
        if words[0] == "export" and words[1].startswith("RUN="):
            # a reader copies the identity from the folder that an earlier line of the page made
            folder = min(runs.glob(words[1].removeprefix("RUN=runs/").replace("IDENTITY", "*")))
            places["$RUN"] = str(folder)
        if words[0] != "ser-kd" or words[1] in MADE_ELSEWHERE:
            continue
        line = words[1:]
        for written, place in places.items():
            line = [word.replace(written, place) for word in line]
        quick = {"train": QUICK, "cache-teacher": QUICK, "sweep": QUICK, "export": QUICK_EXPORT, "benchmark": QUICK_BENCHMARK}.get(
            words[1], []
        )
        if any(word.startswith("experiments=wav_to_mfcc") for word in line):
            quick = [*quick, *QUICK_CLIP]
        if any(word.startswith(("experiments=wav2small/", "experiments=emodistill/")) for word in line):
            quick = [*quick, *QUICK_CLIP, "corpus.clips_per_emotion=1"]
        typed = {word.partition("=")[0]: word for word in [*line, *quick]}
        code, _, errors = ser_kd(*typed.values())
        assert code == 0, f"{shlex.join(words)}\n{errors}"


@pytest.mark.slow
def test_the_three_lines_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = next(block for block in blocks(ROOT / "README.md", "python") if "RavdessDataModule" in block)
    ravdess = workplace / "ravdess"
    if not ravdess.exists():
        write_ravdess(ravdess, statements=(1,), seconds=0.3)
    monkeypatch.setenv("SER_KD_CACHE", str(workplace / "cache"))

    class Listener(lightning.LightningModule):
        """Any script's own module."""

        heard = 0

        def training_step(self, batch, _index):  # type: ignore[no-untyped-def]
            self.heard += len(batch)

        def configure_optimizers(self) -> None:
            return None

    module = Listener()
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    exec(script.replace("/data/ravdess", str(ravdess)), {"trainer": trainer, "your_lightning_module": module})
    assert module.heard == 14 * 30


def test_the_predicting_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = next(block for block in blocks(ROOT / "README.md", "python") if "StreamingPredictor" in block)
    monkeypatch.chdir(tmp_path)
    write_tiny_model(tmp_path / "model_fp32.onnx")
    soundfile.write("recording.wav", speech_like(1), RATE)
    exec(script, {"microphone": [speech_like(number, rate=48_000) for number in range(5)]})
    assert len(capsys.readouterr().out.splitlines()) > 2
