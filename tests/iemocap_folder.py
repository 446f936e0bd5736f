"""Folders as IEMOCAP ships them, a small one and one with the published counts, and metadata as s3prl ships them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile

from tests.conftest import speech_like

CODES = ("neu", "hap", "exc", "ang", "sad", "fru", "sur", "fea", "dis", "oth", "xxx")
CLASSES = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
"""Code -> SUPERB's class."""

FOUR = {
    "Ses01F": (171, 132, 147, 78), "Ses01M": (213, 146, 82, 116),
    "Ses02F": (135, 166, 67, 113), "Ses02M": (227, 161, 70, 84),
    "Ses03F": (130, 128, 92, 172), "Ses03M": (190, 158, 148, 133),
    "Ses04F": (76, 185, 205, 62), "Ses04M": (182, 118, 122, 81),
    "Ses05F": (221, 159, 78, 132), "Ses05M": (163, 283, 92, 113),
}  # fmt: skip
"""Turns of each speaker: neutral, happy or excited, angry, sad."""

OTHERS = {"fru": 1849, "sur": 107, "fea": 40, "dis": 2, "oth": 3, "xxx": 2507}
HAPPY, HAPPY_OR_EXCITED = 595, 1636
SCENES = ("impro01", "impro02", "impro05a", "impro07", "script01_1", "script01_1b", "script02_2", "script03_1")


def published_turns() -> dict[str, list[str]]:
    """Speaker -> codes of all 10,039 turns; the codes beyond the four classes are dealt out evenly."""
    turns: dict[str, list[str]] = {}
    happy = 0
    for speaker, counts in FOUR.items():
        codes = []
        for code, count in zip(("neu", "hap", "ang", "sad"), counts, strict=True):
            for _ in range(count):
                excited = code == "hap" and happy * HAPPY // HAPPY_OR_EXCITED == (happy + 1) * HAPPY // HAPPY_OR_EXCITED
                happy += code == "hap"
                codes.append("exc" if excited else code)
        turns[speaker] = codes
    others = [code for code, count in OTHERS.items() for _ in range(count)]
    for place, speaker in enumerate(turns):
        turns[speaker] += others[place :: len(turns)]
        random.Random(speaker).shuffle(turns[speaker])
    return turns


def small_turns(each: int = 2) -> dict[str, list[str]]:
    """Speaker -> every code a few times."""
    return {speaker: [code for code in CODES for _ in range(each)] for speaker in FOUR}


def write_iemocap(root: Path, turns: Mapping[str, Iterable[str]] | None = None, seconds: float = 0.0) -> Path:
    """Write turns in the release's layout; without a length only the names of the wavs.

    Each session has eight scenes, recorded with the woman and with the man wearing the markers; turn by turn the speakers' codes are
    dealt out to them. Around the turns stands what the release has around them: single raters' answers, voices that are no turn,
    folders of single raters, and the hidden files of a Mac.
    """
    evaluations: dict[Path, list[str]] = {}
    transcriptions: dict[Path, list[str]] = {}
    seed = 0
    for speaker, codes in (turns or small_turns()).items():
        session = root / f"Session{speaker[4]}"
        for number, code in enumerate(codes):
            seed += 1
            dialogue = f"Ses{speaker[3:5]}{'FM'[number % 2]}_{SCENES[number // 2 % len(SCENES)]}"
            name = f"{dialogue}_{speaker[5]}{number // (2 * len(SCENES)):03d}"
            start = 7.5 * (seed % 40)
            valence, arousal, dominance = 1 + seed % 9 / 2, 1 + seed % 5, 1 + seed % 7 / 2
            evaluations.setdefault(session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt", []).append(
                f"[{start:.4f} - {start + 2:.4f}]\t{name}\t{code}\t[{valence:.4f}, {arousal:.4f}, {dominance:.4f}]\n"
                "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
            )
            transcriptions.setdefault(session / "dialog" / "transcriptions" / f"{dialogue}.txt", []).append(
                f"{name} [{start:08.4f}-{start + 2:08.4f}]: What was said in turn {seed}: nothing.\n"
            )
            folder = session / "sentences" / "wav" / dialogue
            folder.mkdir(parents=True, exist_ok=True)
            if seconds:
                soundfile.write(folder / f"{name}.wav", speech_like(seed, seconds), 16_000, subtype="PCM_16")
            else:
                (folder / f"{name}.wav").touch()
    heads = ("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n", "M: [LAUGHTER]\n")
    for head, texts in zip(heads, (evaluations, transcriptions), strict=True):
        for file, lines in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(head + "".join(lines))
            (file.parent / f"._{file.name}").write_bytes(b"\x00\x05\x16\x07\xff\n[0.0 - 1.0]\tno turn\n")
    for session in root.glob("Session*"):
        raters = session / "dialog" / "EmoEvaluation" / "Self-evaluation"
        raters.mkdir()
        (raters / "Ses_F_atr.txt").write_text("not a turn\n")
        wavs = session / "sentences" / "wav"
        (min(wavs.glob("Ses*")) / "._hidden.wav").write_bytes(b"\x00")
        (wavs / "._folder").write_bytes(b"\x00")
    return root


def write_superb_metadata(folder: Path, turns: Mapping[str, str]) -> Path:
    """Write lists of a corpus' turns as s3prl ships them, in an order of their own.

    Args:
        folder: Gets ``Session1/train_meta_data.json`` and so on.
        turns: Turn -> code, all of the four classes.
    """
    rows = [
        {
            "path": f"Session{name[4]}/sentences/wav/{name.rpartition('_')[0]}/{name}.wav",
            "label": CLASSES[code],
            "speaker": name[:6],  # the side that wears the markers, as s3prl has it, not the talker
        }
        for name, code in turns.items()
    ]
    random.Random(0).shuffle(rows)
    for session in "12345":
        (folder / f"Session{session}").mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            chosen = [row for row in rows if (row["path"][7] == session) == (split == "test")]
            text = json.dumps({"labels": {"neu": 0, "hap": 1, "ang": 2, "sad": 3}, "meta_data": chosen})
            (folder / f"Session{session}" / f"{split}_meta_data.json").write_text(text)
    return folder
