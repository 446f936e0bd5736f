"""What a dry run says its figures were measured on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.models.encoders.text_bert import TextBert
from ser_kd.models.encoders.word_pieces import count_words, fit_word_pieces
from ser_kd.models.speech_model import SpeechModel
from ser_kd.tasks.dry_run import _describe_heard

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 90}


def test_a_model_that_reads_is_measured_in_word_pieces() -> None:
    texts: list[str | None] = ["a b c"]
    heard = ModelInput(torch.zeros(1, 1_600), torch.tensor([1_600]), texts=texts)
    assert _describe_heard(nn.Identity(), heard) == "1,600 samples"
    encoder: Any = TextBert(weights="random", settings=SIZES)
    encoder.word_pieces = fit_word_pieces(count_words(["a b c"]), 90)
    assert _describe_heard(SpeechModel(encoder), heard) == "5 word pieces"  # with those that stand at both ends
