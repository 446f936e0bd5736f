from dataclasses import replace

import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.distill.views import Views
from ser_kd.functional.word_errors import measure_word_error_rate
from ser_kd.transforms.chain import Chain
from ser_kd.transforms.gain import Gain
from ser_kd.transforms.word_errors import WordErrors

SAID = [f"the {thing} is lying on the {place} again" for thing in ("bag", "dog") for place in ("table", "sofa", "floor")]


def test_texts_err_and_nothing_else(make_batch):
    batch = replace(make_batch(6), texts=[*SAID[:5], None])
    heard = WordErrors(0.5, texts=SAID)(batch)
    assert heard.texts[5] is None
    assert sum(a != b for a, b in zip(heard.texts, batch.texts, strict=True)) >= 4
    assert heard.waveforms is batch.waveforms
    assert WordErrors(0.5, probability=0.0, texts=SAID)(batch).texts == batch.texts
    assert WordErrors(0.0, texts=SAID)(batch).texts == batch.texts
    silent = make_batch(2)
    assert WordErrors(0.5, texts=SAID)(silent) is silent


def test_a_text_errs_alike_in_any_company_and_anew_by_another_key(make_batch):
    batch = replace(make_batch(6), texts=list(SAID))
    errors = WordErrors(0.4, texts=SAID)
    together = errors(batch).texts
    assert [errors(batch.take([row])).texts[0] for row in (3, 1)] == [together[3], together[1]]
    assert WordErrors(0.4, slot="teacher", texts=SAID)(batch).texts != together
    assert errors(replace(batch, keys=batch.keys + 1)).texts != together
    errors(batch)
    errors.freeze()
    assert errors(replace(batch, keys=batch.keys + 1)).texts == together


def test_the_rate_is_met(make_batch):
    batch = make_batch(600, size=4)
    batch = replace(batch, texts=SAID * 100)
    heard = WordErrors(0.2, texts=SAID)(batch).texts
    assert measure_word_error_rate(zip(batch.texts, heard, strict=True)) == pytest.approx(0.2, abs=0.02)


def test_words_are_handed_over_through_views_and_chains(make_batch):
    batch = replace(make_batch(6), texts=list(SAID))
    views = Views(teacher=Chain([Gain(), WordErrors(0.5)]))
    assert views.awaits_transcripts
    with pytest.raises(ConfigError, match="no words to err with yet"):
        views.split(batch)
    views.take_transcripts(SAID)
    assert not views.awaits_transcripts
    assert views.transcripts == tuple(SAID)
    _, student, teacher = views.split(batch)
    assert student.texts == SAID != teacher.texts
    assert not Views(both=Gain()).awaits_transcripts
    assert not Views(both=Chain([Gain()])).awaits_transcripts


def test_a_rate_beyond_one_is_refused():
    with pytest.raises(ConfigError, match="no word-error rate"):
        WordErrors(1.2)
    assert torch.is_tensor(WordErrors(1.0, texts=SAID).draw(None, torch.tensor([1]))["key"])
