"""A finished run's encoder as front-end: its weights apart, its frames kept, its voice heard where it must be."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.distill.fitting import unfitted_parts
from ser_kd.distill.teacher_member import hash_weights
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.frontends.normalize import NormalizedFrontend
from ser_kd.frontends.waveform import Waveform
from ser_kd.models.encoders.ecapa_tdnn import EcapaTdnn
from ser_kd.models.encoders.spectrogram_transformer import SpectrogramTransformer
from ser_kd.models.encoders.ssl_speech import SslSpeech
from ser_kd.models.encoders.text_bert import TextBert
from ser_kd.models.heads import LinearHead
from ser_kd.models.run_upstream import UPSTREAMS, RunUpstream, UpstreamExtractor, list_upstreams, load_upstreams, whole_model
from ser_kd.models.speech_model import SpeechModel
from ser_kd.models.upstream import Upstream
from ser_kd.storage.weight_files import write_weights

ECAPA = {"channels": 8, "embedding_width": 5, "attention_width": 6, "bottleneck_width": 4, "scale": 4}


def make_upstream(seed: int = 0, **options: object) -> RunUpstream:
    torch.manual_seed(seed)
    model = Upstream(partial(SslSpeech, weights="random", layers=1, width=64, conv_width=8, freeze="feature_encoder"), Waveform())
    return RunUpstream(model=model, weights="hash", **options)


def make_model(seed: int = 0, **options: object) -> SpeechModel:
    return SpeechModel(partial(EcapaTdnn, **ECAPA), make_upstream(seed, **options), head=partial(LinearHead, classes=3))


@pytest.fixture
def inputs() -> ModelInput:
    waveforms = torch.randn(2, 6400, generator=torch.Generator().manual_seed(0))
    waveforms[1, 4000:] = 0
    return ModelInput(waveforms, torch.tensor([6400, 4000]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of another seed."""
    path = tmp_path / UPSTREAMS / "upstream.safetensors"
    write_weights(path, make_upstream(seed=1).model.state_dict())
    return path


def test_it_waits_for_the_weights_of_the_run(inputs: ModelInput, file: Path) -> None:
    model = make_model().eval()
    with pytest.raises(ConfigError, match="has no weights here"):
        model(inputs)
    load_upstreams(model, file.parents[1])
    expected = make_upstream(seed=1).model.eval()(inputs)
    heard = model.frontend(inputs)
    assert torch.equal(heard.frames, expected.frames)
    assert torch.equal(heard.lengths, expected.lengths)
    file.unlink()
    other = make_model()
    with pytest.raises(DataError, match="gone"):
        load_upstreams(other, file.parents[1])


def test_a_frozen_upstream_is_in_no_checkpoint_and_learns_nothing(inputs: ModelInput, file: Path) -> None:
    model = make_model()
    load_upstreams(model, file.parents[1])
    state = model.state_dict()
    assert not [name for name in state if name.startswith("frontend.")]
    model.train()
    assert not any(module.training for module in model.frontend.model.modules())
    model(inputs).logits.square().sum().backward()
    assert all(parameter.grad is None for parameter in model.frontend.parameters())
    again = make_model(seed=2)
    again.load_state_dict(state)  # nothing is missed
    load_upstreams(again, file.parents[1])
    assert torch.equal(again.eval()(inputs).logits, model.eval()(inputs).logits)
    state.pop("head.linear.weight", None) or state.pop(next(name for name in state if name.startswith("head.")))
    with pytest.raises(RuntimeError, match="head"):  # what is the model's own is still asked for
        make_model().load_state_dict(state)


def test_a_trainable_upstream_is_a_part_like_any_other(inputs: ModelInput, file: Path) -> None:
    model = make_model(trainable=True)
    load_upstreams(model, file.parents[1])
    model.train()(inputs).logits.square().sum().backward()
    learned = {name.split(".")[2] for name, parameter in model.frontend.named_parameters() if parameter.grad is not None}
    assert learned
    assert all(p.grad is None for p in model.frontend.model.encoder.model.feature_extractor.parameters())  # frozen in its own run too
    again = make_model(seed=2, trainable=True)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(inputs).logits, model.eval()(inputs).logits)


def test_frames_that_were_kept_take_its_place(inputs: ModelInput, file: Path) -> None:
    model = make_model().eval()
    load_upstreams(model, file.parents[1])
    live = model(inputs).logits
    extractor = UpstreamExtractor(model.frontend)
    rows = [extractor.extract(inputs.waveforms[row, : inputs.lengths[row]].numpy(), 16_000) for row in range(2)]
    frames = torch.zeros(2, max(map(len, rows)), 64)
    for row, values in enumerate(rows):
        frames[row, : len(values)] = torch.from_numpy(values)
    kept = ModelInput(inputs.waveforms * 0, inputs.lengths, features={"upstream": (frames, torch.tensor([len(row) for row in rows]))})
    waiting = make_model().eval()
    waiting.load_state_dict(model.state_dict())
    waiting.frontend.rely_on_kept_frames()
    torch.testing.assert_close(waiting(kept).logits, live, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="batches that carry its frames as 'upstream'"):
        waiting(inputs)
    trainable = make_model(trainable=True).eval()
    load_upstreams(trainable, file.parents[1])
    assert not torch.equal(trainable.frontend(kept).frames, frames)  # what goes on learning is heard anew


def test_a_model_is_counted_whole(inputs: ModelInput) -> None:
    model = make_model()
    model.frontend.rely_on_kept_frames()
    kept = ModelInput(inputs.waveforms, inputs.lengths, features={"upstream": (torch.zeros(2, 3, 64), torch.tensor([3, 3]))})
    with whole_model(model, kept) as heard:
        assert not heard.features
        assert model.eval()(heard).logits is not None
    assert model.frontend.is_kept


def test_frames_are_kept_as_asked_and_the_network_is_loaded_when_it_is_needed(file: Path) -> None:
    upstream = make_upstream()
    upstream.file = file
    extractor = UpstreamExtractor(upstream, dtype="float16")
    assert upstream.awaits_weights
    samples = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    half, whole = extractor.extract(samples, 16_000), UpstreamExtractor(upstream).extract(samples, 16_000)
    assert (half.dtype, whole.dtype) == (np.float16, np.float32)
    np.testing.assert_allclose(half, whole, atol=2e-3)
    assert extractor.frames_per_s(16_000) == 50
    assert extractor.identity == {"upstream": "hash", "dtype": "float16"}
    with pytest.raises(ConfigError, match="float32 or float16"):
        UpstreamExtractor(upstream, dtype="int8")
    with torch.no_grad():
        upstream.model.encoder.model.encoder.layers[-1].final_layer_norm.weight.mul_(1e6)
    with pytest.raises(DataError, match="not finite"):
        extractor.extract(samples, 16_000)


def test_a_reader_makes_a_frame_of_each_word_piece_and_brings_its_vocabulary(tmp_path: Path) -> None:
    def make_reader() -> RunUpstream:
        return RunUpstream(
            name="words", model=Upstream(TextBert(weights="random", layers=1, width=64, vocabulary_size=100)), weights="hash"
        )

    trained = make_reader()
    encoder, heard = trained.model.encoder, ModelInput(torch.zeros(1, 10), torch.tensor([10]), ["so it is"])
    encoder.begin_fit()
    encoder.update_fit(heard)
    encoder.end_fit()
    write_weights(tmp_path / UPSTREAMS / "words.safetensors", trained.model.state_dict())
    upstream = make_reader()
    assert upstream.reads_text
    load_upstreams(upstream, tmp_path)
    extractor = UpstreamExtractor(upstream)
    assert extractor.frames_per_s(16_000) == 0.0
    trained.keep_random_weights()
    expected = trained.eval()(heard)
    np.testing.assert_allclose(extractor.extract_text("so it is"), expected.frames[0].detach().numpy(), atol=1e-6)


def test_what_its_run_fitted_is_not_fitted_again() -> None:
    encoder = partial(SpectrogramTransformer, width=16, layers=1)
    upstream = RunUpstream(model=Upstream(encoder, NormalizedFrontend(Mfcc(), "training")), weights="x")
    model = SpeechModel(partial(EcapaTdnn, **ECAPA), upstream)
    assert unfitted_parts(upstream.model)
    assert list_upstreams(model) == [upstream]
    assert unfitted_parts(model) == []


def test_who_hears_through_another_is_another(file: Path) -> None:
    first, second = make_model(), make_model()
    assert hash_weights(first) == hash_weights(second)
    second.frontend.weights = "another"
    assert hash_weights(first) != hash_weights(second)


def test_nobody_said_what_it_is() -> None:
    with pytest.raises(ConfigError, match="Nobody filled in") as fault:
        RunUpstream(experiment="a/b")
    assert "a/b" in fault.value.expected
