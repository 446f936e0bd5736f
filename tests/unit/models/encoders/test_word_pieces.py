import json

import pytest
from transformers import BertTokenizer

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.models.encoders.word_pieces import SPECIAL, WordPieces, count_words, fit_word_pieces, read_word_pieces

TOKENS = (*SPECIAL, "the", "bag", "##s", "is", ".", "me", "caf")
TEXT = "The bags is. CAFÉ me"


def write_list(folder, tokens=TOKENS, **settings):
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_pieces_are_those_of_the_library():
    theirs = BertTokenizer({token: number for number, token in enumerate(TOKENS)})
    ours = WordPieces(TOKENS)
    assert ours.encode(TEXT, 20) == theirs(TEXT)["input_ids"]
    assert [TOKENS[number] for number in ours.encode(TEXT, 20)] == [
        "[CLS]", "the", "bag", "##s", "is", ".", "[UNK]", "me", "[SEP]",
    ]  # fmt: skip
    assert [TOKENS[number] for number in ours.encode(TEXT, 4)] == ["[CLS]", "the", "bag", "[SEP]"]
    assert [TOKENS[number] for number in ours.encode("", 4)] == ["[CLS]", "[SEP]"]
    assert WordPieces.from_bytes(ours.to_bytes()) == ours


def test_fitted_pieces_spell_what_nobody_said():
    counts = count_words(["The bag, the Bag.", "Café at the table"])
    assert counts == {"the": 3, "bag": 2, ",": 1, ".": 1, "cafe": 1, "at": 1, "table": 1}
    pieces = fit_word_pieces(counts, 100)
    assert fit_word_pieces(dict(reversed(counts.items())), 100) == pieces
    assert pieces.tokens[-5:] == ("the", "bag", "at", "cafe", "table")
    assert pieces.tokens[:5] == SPECIAL
    assert pieces.tokens[0] == "[PAD]"
    spelled = [pieces.tokens[number] for number in pieces.encode("The zoo 7, ж", 20)]
    assert spelled == ["[CLS]", "the", "z", "##o", "##o", "7", ",", "[UNK]", "[SEP]"]
    assert fit_word_pieces(counts, 82).tokens[-1] == "the"
    with pytest.raises(ConfigError, match="too small") as fault:
        fit_word_pieces(counts, 60)
    assert fault.value.expected == "vocabulary_size of 81 or more"


@pytest.mark.parametrize(("settings", "lowercase"), [({}, True), ({"do_lower_case": False}, False), ({"do_lower_case": True}, True)])
def test_a_list_beside_a_checkpoint_is_read(tmp_path, settings, lowercase):
    write_list(tmp_path, **settings)
    assert read_word_pieces(str(tmp_path)) == WordPieces(TOKENS, lowercase)


def test_a_list_with_capitals_and_no_settings_keeps_capitals(tmp_path):
    write_list(tmp_path, (*TOKENS, "Berlin", "\x85x"))
    found = read_word_pieces(str(tmp_path))
    assert found == WordPieces((*TOKENS, "Berlin", "\x85x"), False)


@pytest.mark.parametrize("lowercase", [True, False])
def test_what_the_library_saves_is_read(tmp_path, lowercase):
    theirs = BertTokenizer({token: number for number, token in enumerate(TOKENS)}, do_lower_case=lowercase)
    theirs.save_pretrained(tmp_path)
    found = read_word_pieces(str(tmp_path))
    assert found is not None
    assert found.lowercase == lowercase
    assert found.encode(TEXT, 20) == theirs(TEXT)["input_ids"]


def test_what_cannot_be_read_is_told(tmp_path):
    assert read_word_pieces(str(tmp_path)) is None
    content = {"model": {"type": "BPE", "vocab": {}}, "normalizer": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="not that of a BERT") as fault:
        read_word_pieces(str(tmp_path))
    assert "BPE" in fault.value.got
    vocabulary = {token: number for number, token in enumerate(TOKENS)} | {"far": 99}
    content = {"model": {"type": "WordPiece", "vocab": vocabulary}, "normalizer": {"type": "BertNormalizer"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="gaps"):
        read_word_pieces(str(tmp_path))
    write_list(tmp_path, ("a", "b"))
    with pytest.raises(DataError, match="no vocabulary of a BERT") as fault:
        read_word_pieces(str(tmp_path))
    assert "[CLS]" in fault.value.got
