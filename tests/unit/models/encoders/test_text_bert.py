import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel, BertTokenizer

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Features
from ser_kd.models.costs import count_multiply_accumulates
from ser_kd.models.encoders.text_bert import TextBert
from ser_kd.models.encoders.word_pieces import SPECIAL
from ser_kd.models.freezing import count_parameters
from ser_kd.models.heads import LinearHead
from ser_kd.models.pretrained import load_pretrained, pretrained_parts
from ser_kd.models.speech_model import SpeechModel

SMALL = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 120}
QUIET = {**SMALL, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TEXTS = ["The bag is lying on the table again.", "Get out!", "", "It is going to take eleven more minutes, I think."]
WORDS = ("the", "bag", "is", "on", "table", ".", "get", "out", "!")


def hear(texts):
    return ModelInput(torch.zeros(len(texts), 4), torch.full((len(texts),), 4), texts=list(texts))


def fit(encoder, texts=TEXTS):
    encoder.begin_fit()
    encoder.update_fit(hear(texts))
    encoder.end_fit()
    return encoder


def small(**more):
    torch.manual_seed(0)
    return fit(TextBert(**{"weights": "random", "settings": SMALL, **more}))


def save(folder, network=BertModel, old_names=False, **more):
    """A tiny BERT with its tokenizer, as the hub has them."""
    torch.manual_seed(1)
    model = network(BertConfig(**{**SMALL, **more})).eval()
    model.save_pretrained(folder)
    BertTokenizer({token: number for number, token in enumerate((*SPECIAL, *WORDS))}).save_pretrained(folder)
    if old_names:
        weights = load_file(folder / "model.safetensors")
        renamed = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for name, value in weights.items()
        }
        assert renamed.keys() != weights.keys()
        save_file({**renamed, "bert.embeddings.position_ids": torch.arange(512)[None]}, folder / "model.safetensors")
    return model.base_model


@pytest.mark.parametrize(
    ("more", "head", "total"),
    [
        ({}, None, 108_891_648),
        ({"embedding": "pooled"}, None, 109_482_240),  # as the paper counts: 110 M
        ({}, LinearHead, 108_894_724),
        ({"freeze": "encoder"}, None, 108_891_648),
    ],
)
def test_published_sizes(more, head, total):
    with torch.device("meta"):
        model = SpeechModel(TextBert(**more), head=head, classes=4)
    assert count_parameters(model)["total"] == total
    assert model.width == 768
    assert model.reads_text


def test_an_embedding_and_a_frame_for_each_piece():
    encoder = small(hidden_layers=[0, 3]).eval()
    encoded = encoder(Features(None, None, TEXTS[:3]))
    lengths = [len(encoder.word_pieces.encode(text, 128)) for text in TEXTS[:3]]
    assert lengths == [11, 5, 2]
    assert encoded.frames.shape == (3, 11, 24)
    assert encoded.frame_mask.sum(dim=1).tolist() == lengths
    assert {number: state.shape for number, state in encoded.hidden_states.items()} == {0: (3, 11, 24), 3: (3, 11, 24)}
    torch.testing.assert_close(encoded.hidden_states[3], encoded.frames)
    torch.testing.assert_close(encoded.embedding, encoded.frames[:, 0])
    assert encoder.layer_widths == dict.fromkeys(range(4), 24)


@pytest.mark.parametrize("embedding", ["cls", "pooled", "mean"])
def test_a_text_gives_the_same_answer_alone_and_in_a_batch(embedding):
    encoder = small(embedding=embedding, hidden_layers="all").eval()
    together = encoder(Features(None, None, TEXTS))
    for row, text in enumerate(TEXTS):
        alone = encoder(Features(None, None, [text]))
        torch.testing.assert_close(together.embedding[row], alone.embedding[0], rtol=1e-5, atol=1e-5)
        valid = together.frame_mask[row]
        torch.testing.assert_close(together.frames[row, valid], alone.frames[0], rtol=1e-5, atol=1e-5)
        assert not together.frames[row, ~valid].any()
        assert not together.hidden_states[2][row, ~valid].any()


def test_embeddings_are_what_they_are_called():
    texts = Features(None, None, TEXTS)
    cls, pooled, mean = (small(embedding=name).eval() for name in ("cls", "pooled", "mean"))
    for other in (pooled, mean):
        other.model.load_state_dict(cls.model.state_dict(), strict=False)
    frames, mask = cls(texts).frames, cls(texts).frame_mask
    torch.testing.assert_close(cls(texts).embedding, frames[:, 0])
    torch.testing.assert_close(pooled(texts).embedding, pooled.model.pooler(frames))
    rows = torch.stack([frame[valid].mean(dim=0) for frame, valid in zip(frames, mask, strict=True)])
    torch.testing.assert_close(mean(texts).embedding, rows)


def test_more_padding_changes_no_gradient():
    gradients = []
    for texts in (TEXTS[:2], [*TEXTS[:2], " ".join(TEXTS * 3)]):
        encoder = small(settings=QUIET).train()
        encoder(Features(None, None, texts)).embedding[:2].square().sum().backward()
        gradients.append(encoder.model.encoder.layer[0].attention.self.query.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
    assert gradients[0].abs().max() > 0


def test_it_answers_as_the_library_does(tmp_path):
    theirs = save(tmp_path)
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    model = SpeechModel(TextBert(str(tmp_path)))
    assert pretrained_parts(model)
    load_pretrained(model)
    model.eval()
    heard = tokenizer(["get the bag", "Out!"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**heard).last_hidden_state[:, 0]
        torch.testing.assert_close(model(hear(["get the bag", "Out!"])).embedding, expected)


@pytest.mark.parametrize(
    ("network", "old_names", "embedding"),
    [
        (BertModel, False, "pooled"),
        (BertForPreTraining, True, "pooled"),
        (BertForPreTraining, True, "cls"),
        (BertForMaskedLM, False, "cls"),
    ],
)
def test_weights_of_the_hub_are_found_behind_heads_and_old_names(tmp_path, network, old_names, embedding):
    theirs = save(tmp_path, network, old_names)
    encoder = TextBert(str(tmp_path), embedding=embedding)
    encoder.load_weights()
    ours = encoder.model.state_dict()
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.items())
    assert ("pooler.dense.weight" in ours) == (embedding == "pooled")
    assert encoder.word_pieces.tokens == (*SPECIAL, *WORDS)
    assert encoder.is_fitted


def test_the_lowest_blocks_are_taken(tmp_path):
    theirs = save(tmp_path)
    encoder = TextBert(str(tmp_path), layers=2)
    encoder.load_weights()
    assert len(encoder.model.encoder.layer) == 2
    assert torch.equal(encoder.model.encoder.layer[1].output.dense.weight, theirs.encoder.layer[1].output.dense.weight)


def test_a_checkpoint_that_does_not_fit_is_told(tmp_path):
    save(tmp_path)
    wider = TextBert(str(tmp_path), width=64)
    with pytest.raises(ConfigError, match="another size"):
        wider.load_weights()
    for name in ("tokenizer.json", "vocab.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    encoder = TextBert(str(tmp_path))
    assert "vocab.txt or tokenizer.json" in encoder.missing_weights()
    with pytest.raises(DataError, match="vocabulary cannot be used"):
        encoder.load_weights()
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *map(str, range(200))]) + "\n")
    with pytest.raises(DataError, match="vocabulary cannot be used") as fault:
        TextBert(str(tmp_path)).load_weights()
    assert (fault.value.got, "at most 120" in fault.value.expected) == ("205 word pieces", True)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "model_type": "roberta"}))
    with pytest.raises(ConfigError, match="another kind of network"):
        TextBert(str(tmp_path))


def test_weights_that_are_nowhere_are_named():
    encoder = TextBert("nobody/no-such-bert")
    assert "hf download nobody/no-such-bert" in encoder.missing_weights()
    with pytest.raises(ConfigError, match="still has random weights"):
        encoder(Features(None, None, TEXTS))


def test_a_checkpoint_brings_its_vocabulary():
    trained = SpeechModel(small(), head=LinearHead, classes=3).eval()
    state = copy.deepcopy(trained.state_dict())
    assert state["encoder._extra_state"].dtype == torch.uint8
    fresh = SpeechModel(TextBert(weights="random", settings=SMALL), head=LinearHead, classes=3).eval()
    assert not fresh.encoder.is_fitted
    with pytest.raises(ConfigError, match="vocabulary was never fitted"):
        fresh(hear(TEXTS))
    fresh.load_state_dict(state)
    assert fresh.encoder.word_pieces == trained.encoder.word_pieces
    torch.testing.assert_close(fresh(hear(TEXTS)).logits, trained(hear(TEXTS)).logits)
    torch.testing.assert_close(copy.deepcopy(fresh)(hear(TEXTS)).logits, trained(hear(TEXTS)).logits)
    waiting = SpeechModel(TextBert("nobody/no-such-bert", settings=SMALL), head=LinearHead, classes=3).eval()
    waiting.load_state_dict(state)  # needs no weights of the hub any more
    torch.testing.assert_close(waiting(hear(TEXTS)).logits, trained(hear(TEXTS)).logits)


def test_the_vocabulary_is_that_of_the_training_texts():
    encoder = small()
    assert {"eleven", "bag", "!"} <= set(encoder.word_pieces.tokens)
    with pytest.raises(DataError, match="training clips have no words"):
        fit(TextBert(weights="random", settings=SMALL), ["", "  "])
    with pytest.raises(ConfigError, match="never begun"):
        TextBert(weights="random", settings=SMALL).update_fit(hear(TEXTS))
    with pytest.raises(ConfigError, match="too small"):
        small(vocabulary_size=20)


def test_clips_without_a_text_are_refused():
    encoder = small().eval()
    for texts, told in ((None, "every clip"), (["a", None, None], "2 of 3 clips")):
        with pytest.raises(DataError, match="reads transcripts") as fault:
            encoder(Features(None, None, texts))
        assert told in fault.value.got


def test_long_texts_are_cut():
    encoder = small(max_tokens=6).eval()
    long = " ".join(TEXTS)
    assert encoder(Features(None, None, [long, "get"])).frames.shape[1] == 6
    torch.testing.assert_close(encoder(Features(None, None, [long])).embedding, encoder(Features(None, None, [f"{long} {long}"])).embedding)
    with pytest.raises(ConfigError, match="of this length"):
        small(max_tokens=513)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"freeze": "embeddings"}, {"embeddings"}),
        ({"freeze": "encoder"}, {"embeddings", "layer.0", "layer.1", "layer.2"}),
        ({"frozen_blocks": 2}, {"embeddings", "layer.0", "layer.1"}),
        ({}, set()),
    ],
)
def test_what_is_frozen(more, names):
    encoder = small(**more)
    blocks = {"embeddings": encoder.model.embeddings} | {f"layer.{n}": layer for n, layer in enumerate(encoder.model.encoder.layer)}
    assert {name for name, part in blocks.items() if not any(p.requires_grad for p in part.parameters())} == names


@pytest.mark.parametrize("more", [{"embedding": "max"}, {"freeze": "all"}, {"frozen_blocks": 9}, {"hidden_layers": [4]}, {"weights": "x"}])
def test_faulty_settings_are_refused(more):
    with pytest.raises(ConfigError):
        small(**more)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for saves in (False, True):
        encoder = small(settings=QUIET, gradient_checkpointing=saves).train()
        encoder(Features(None, None, TEXTS)).embedding.square().sum().backward()
        gradients.append(encoder.model.embeddings.word_embeddings.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_its_costs_are_counted_in_pieces():
    model = SpeechModel(small(), head=LinearHead, classes=3)
    short, long = (count_multiply_accumulates(model, hear([text])) for text in ("get out", " ".join(TEXTS)))
    assert 0 < 5 * short < long
