import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from ser_kd.contracts.emotions import canonical_emotion
from ser_kd.contracts.errors import DataError
from ser_kd.data import demo_speech, espeak
from ser_kd.data.demo_sentences import EMOTIVE_SENTENCES, SHARED_SENTENCES, SLOT_WORDS, compose_sentence
from ser_kd.data.demo_speech import (
    CLIP_SPREAD,
    CUES,
    EMOTION_CUES,
    EMOTION_DIMENSIONS,
    SPEAKER_SPREAD,
    describe_settings,
    draw_clip,
    draw_generator,
    draw_speaker,
    synthesise_clip,
)
from ser_kd.storage.hashing import hash_bytes, hash_data

RATE = 16_000
pytest.importorskip("espeakng_loader")


def spoken(speaker: int, emotion: str, index: int) -> np.ndarray:
    return synthesise_clip(draw_clip(speaker, emotion, index), RATE)


def test_a_clip_is_the_same_alone_in_another_process_and_after_others():
    program = """
from ser_kd.data.demo_speech import draw_clip, synthesise_clip
from ser_kd.storage.hashing import hash_bytes
print(hash_bytes(synthesise_clip(draw_clip(2, "angry", 1), 16000).tobytes()))
"""
    alone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    for key in [(6, "sad", 1), (3, "disgust", 2)]:
        spoken(*key)
    assert hash_bytes(spoken(2, "angry", 1).tobytes()) == alone


def test_no_clip_depends_on_the_order_of_synthesis():
    keys = [(speaker, emotion, index) for speaker in (1, 2) for emotion in EMOTION_CUES for index in (0, 1)]
    forwards = {key: hash_bytes(spoken(*key).tobytes()) for key in keys}
    backwards = {key: hash_bytes(spoken(*key).tobytes()) for key in reversed(keys)}
    assert forwards == backwards
    assert len(set(forwards.values())) == len(keys)


def test_speaking_does_not_depend_on_what_was_spoken_before():
    clip = draw_clip(5, "sad", 4)
    shape = espeak.VoiceShape("male", 80, 130, ((100, 100, 100),) * 9, breath=12)
    first, rate = espeak.speak("The bag is on the table.", shape, 170, seed=3)
    synthesise_clip(clip, RATE)
    espeak.speak("Something else.", dataclasses.replace(shape, gender="female", pitch_low_hz=180, pitch_high_hz=300), 250, seed=4)
    second, _ = espeak.speak("The bag is on the table.", shape, 170, seed=3)
    np.testing.assert_array_equal(first, second)
    assert rate == 22_050
    assert first.dtype == np.float32
    assert 0.05 < np.abs(first).max() < 1.0


def test_the_seed_moves_the_breath():
    shape = espeak.VoiceShape("female", 170, 230, ((100, 100, 100),) * 9, breath=20)
    assert not np.array_equal(espeak.speak("A bag.", shape, 170, 1)[0], espeak.speak("A bag.", shape, 170, 2)[0])


def test_a_clip_sounds_like_recorded_speech():
    for emotion in EMOTION_CUES:
        waveform = spoken(2, emotion, 2)
        assert waveform.dtype == np.float32
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() <= 1.0
        assert 0.01 < np.sqrt(np.mean(waveform**2)) < 0.3
        assert 1.0 < len(waveform) / RATE < 4.0
        assert np.sqrt(np.mean(waveform[:500] ** 2)) > 1e-4, "the room's noise is missing before the voice"


def test_the_wanted_rate_changes_samples_but_not_the_length_in_seconds():
    clip = draw_clip(1, "neutral", 0)
    assert len(synthesise_clip(clip, 8_000)) == pytest.approx(len(synthesise_clip(clip, RATE)) / 2, abs=2)


def test_the_tables_have_one_column_per_cue_and_one_row_per_emotion():
    assert {len(row) for row in (*EMOTION_CUES.values(), CLIP_SPREAD, SPEAKER_SPREAD)} == {len(CUES)}
    assert list(EMOTION_CUES) == ["neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"]
    assert [canonical_emotion(name) for name in EMOTION_CUES] == list(EMOTION_CUES)
    assert set(EMOTION_CUES) == set(EMOTION_DIMENSIONS) == set(EMOTIVE_SENTENCES)
    assert not any(EMOTION_CUES["neutral"][:-2]), "neutral is the speaker's own voice"


def test_speakers_come_in_pairs_of_a_woman_and_a_man():
    speakers = [draw_speaker(number) for number in range(1, 11)]
    assert [s.gender for s in speakers] == ["female", "male"] * 5
    assert [s.session for s in speakers] == [f"ses{n}" for n in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    assert len({(s.pitch_hz, s.formants) for s in speakers}) == 10
    assert min(s.pitch_hz for s in speakers[::2]) > max(s.pitch_hz for s in speakers[1::2])


def test_strong_clips_show_more_than_normal_ones():
    clips = [draw_clip(speaker, "angry", index) for speaker in range(1, 11) for index in range(12)]
    level = {wanted: np.mean([c.cues["level"] for c in clips if c.intensity == wanted]) for wanted in ("normal", "strong")}
    assert level["strong"] > level["normal"] > EMOTION_CUES["neutral"][CUES.index("level")]


def test_dimensions_lie_in_range_and_follow_the_emotion():
    clips = [draw_clip(s, e, i) for s in (1, 2, 3, 4) for e in EMOTION_CUES for i in range(12)]
    values = np.array([(c.arousal, c.dominance, c.valence) for c in clips])
    assert values.min() >= 0.0
    assert values.max() <= 1.0
    mean = {e: values[[c.emotion == e for c in clips]].mean(axis=0) for e in EMOTION_CUES}
    assert mean["angry"][0] > mean["neutral"][0] > mean["sad"][0]
    assert mean["angry"][1] > mean["fear"][1] + 0.3
    assert mean["happy"][2] > mean["disgust"][2] + 0.3
    assert len({tuple(row) for row in values.tolist()}) > 300, "clips share their values"


def test_half_of_the_sentences_are_shared_and_the_others_belong_to_one_emotion():
    def pattern(template: str) -> str:
        return template.split("{")[0]

    for emotion in EMOTION_CUES:
        for index in range(4):
            text = draw_clip(3, emotion, index).text
            source = SHARED_SENTENCES if index % 2 == 0 else EMOTIVE_SENTENCES[emotion]
            assert any(text.startswith(pattern(template)) for template in source)
            assert text.endswith(".")
            assert "{" not in text
    heard = {emotion: {draw_clip(s, emotion, i).text for s in range(1, 11) for i in range(0, 12, 2)} for emotion in EMOTION_CUES}
    assert all(heard["angry"] & heard[emotion] for emotion in EMOTION_CUES), "no carrier is said in two emotions"
    emotive = [template for rows in EMOTIVE_SENTENCES.values() for template in rows]
    assert len(set(emotive)) == len(emotive)
    assert not set(emotive) & set(SHARED_SENTENCES)


def test_every_sentence_fills_from_the_slot_words():
    generator = np.random.default_rng(0)
    said = {compose_sentence(emotion, shared, generator) for emotion in EMOTION_CUES for shared in (True, False) for _ in range(300)}
    assert not [text for text in said if "{" in text]
    names = SLOT_WORDS["name"]
    assert {name for name in names if any(name in text for text in said)} == set(names)


def test_draws_depend_on_their_key_alone():
    assert draw_generator("a", 1).integers(2**31) == draw_generator("a", 1).integers(2**31)
    assert draw_generator("a", 1).integers(2**31) != draw_generator("a", 11).integers(2**31)
    assert draw_generator("a", 1).integers(2**31) != draw_generator("a1").integers(2**31)


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        ("VERSION", 0),
        ("EMOTION_CUES", {}),
        ("CLIP_SPREAD", ()),
        ("SPEAKER_SPREAD", ()),
        ("INTENSITY_STRENGTH", {}),
        ("STRENGTH_SPREAD", 0.0),
        ("SNR_DB", (0.0, 1.0)),
        ("EMOTION_DIMENSIONS", {}),
        ("DIMENSION_SPREAD", 0.0),
        ("SHARED_SENTENCES", ()),
        ("EMOTIVE_SENTENCES", {}),
        ("SLOT_WORDS", {}),
    ],
)
def test_settings_change_with_every_constant(monkeypatch, constant, value):
    before = hash_data(describe_settings())
    monkeypatch.setattr(demo_speech, constant, value)
    assert hash_data(describe_settings()) != before


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak._engine.cache_clear()
    try:
        with pytest.raises(DataError, match="cannot be spoken") as caught:
            espeak.speak("A bag.", espeak.VoiceShape("male", 80, 130, ((100, 100, 100),) * 9), 170, 0)
        assert caught.value.remedy == 'pip install "ser-kd[demo]"'
    finally:
        espeak._engine.cache_clear()
