"""Self-supervised encoders against the library's own forward pass, at small random sizes."""

import pytest
import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperModel,
)

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.log_mel import LogMel
from ser_kd.models.encoders.ssl_speech import SslSpeech
from ser_kd.models.encoders.whisper_encoder import WhisperEncoder

SMALL = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
STABLE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
KINDS = {
    "wav2vec2 group": ("wav2vec2", Wav2Vec2Config, Wav2Vec2Model, {}),
    "wav2vec2 layer": ("wav2vec2", Wav2Vec2Config, Wav2Vec2Model, STABLE),
    "hubert group": ("hubert", HubertConfig, HubertModel, {}),
    "hubert layer": ("hubert", HubertConfig, HubertModel, STABLE),
    "wavlm group": ("wavlm", WavLMConfig, WavLMModel, {}),
    "wavlm layer": ("wavlm", WavLMConfig, WavLMModel, STABLE),
    "data2vec": ("data2vec-audio", Data2VecAudioConfig, Data2VecAudioModel, {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
}
LENGTHS = [5000, 2345, 900]


@pytest.fixture(params=KINDS)
def pair(request, tmp_path):
    """The library's network, and ours that loaded what it saved."""
    architecture, config, network, more = KINDS[request.param]
    torch.manual_seed(0)
    theirs = network(config(**{**SMALL, **more})).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # so that no bias is zero and no scale is one
            parameter.add_(0.1 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    ours = SslSpeech(architecture, str(tmp_path), normalize_waveform=False, hidden_layers="all")
    ours.load_weights()
    return ours.eval(), theirs


@pytest.fixture
def clips():
    waveforms = torch.randn(len(LENGTHS), max(LENGTHS), generator=torch.Generator().manual_seed(1))
    for row, length in zip(waveforms, LENGTHS, strict=True):
        row[length:] = 0.0
    return waveforms


def heard(waveforms, lengths=None):
    return Features(waveforms.unsqueeze(-1), None if lengths is None else torch.tensor(lengths))


@torch.no_grad()
def test_saved_weights_come_back_bit_for_bit(pair):
    ours, theirs = pair
    state = ours.model.state_dict()
    assert set(state) == set(theirs.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in theirs.state_dict().items())


@torch.no_grad()
def test_single_clips_get_the_librarys_frames_and_hidden_states(pair, clips):
    ours, theirs = pair
    for row, length in enumerate(LENGTHS):
        clip = clips[row : row + 1, :length]
        expected = theirs(clip, output_hidden_states=True)
        encoded = ours(heard(clip, [length]))
        torch.testing.assert_close(encoded.frames, expected.last_hidden_state, rtol=1e-5, atol=1e-5)
        assert sorted(encoded.hidden_states) == list(range(len(expected.hidden_states)))
        for number, state in enumerate(expected.hidden_states):
            torch.testing.assert_close(encoded.hidden_states[number], state, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_padded_batch_gets_the_frames_of_its_single_clips(pair, clips):
    ours, theirs = pair
    encoded = ours(heard(torch.where(clips == 0, torch.nan, clips), LENGTHS))
    for row, length in enumerate(LENGTHS):
        alone = theirs(clips[row : row + 1, :length]).last_hidden_state[0]
        valid = encoded.frame_mask[row]
        assert int(valid.sum()) == len(alone)
        torch.testing.assert_close(encoded.frames[row, valid], alone, rtol=1e-4, atol=1e-4)
        assert not encoded.frames[row, ~valid].any()
        assert not any(state[row, ~valid].any() for state in encoded.hidden_states.values())


@torch.no_grad()
def test_padding_as_in_the_paper_is_the_librarys_answer_to_the_padded_batch(pair, clips):
    ours, theirs = pair
    ours.padding = "paper"
    encoded = ours(heard(clips, LENGTHS))
    assert encoded.frame_mask is None
    torch.testing.assert_close(encoded.frames, theirs(clips).last_hidden_state, rtol=1e-5, atol=1e-5)


def test_the_padding_of_a_batch_does_change_the_librarys_answer(clips):
    torch.manual_seed(0)
    theirs = Wav2Vec2Model(Wav2Vec2Config(**SMALL)).eval()
    with torch.no_grad():
        alone, padded = theirs(clips[2:, :900]).last_hidden_state, theirs(clips).last_hidden_state[2:, :2]
    assert float((alone - padded).abs().max()) > 0.1


def test_waveforms_are_normalised_as_the_library_does(clips):
    torch.manual_seed(0)
    encoder = SslSpeech(weights="random", settings=SMALL).eval()
    prepare = Wav2Vec2FeatureExtractor(do_normalize=True)
    raw = [0.1 * clips[row, :length] + 0.02 for row, length in enumerate(LENGTHS)]
    batch = torch.nn.utils.rnn.pad_sequence(raw, batch_first=True)
    prepared = prepare([clip.numpy() for clip in raw], sampling_rate=16_000, padding=True, return_attention_mask=True, return_tensors="pt")
    with torch.no_grad():
        frames = encoder(heard(batch, LENGTHS)).frames
        encoder.normalize_waveform = False
        expected = encoder(heard(prepared.input_values, LENGTHS)).frames
    torch.testing.assert_close(frames, expected, rtol=1e-4, atol=1e-4)


def test_gradients_equal_the_librarys(pair, clips):
    ours, theirs = pair
    theirs(clips[:1]).last_hidden_state.square().sum().backward()
    ours(heard(clips[:1])).frames.square().sum().backward()
    for (name, parameter), expected in zip(ours.model.named_parameters(), theirs.parameters(), strict=True):
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-4, msg=name)


@torch.no_grad()
def test_the_trunk_of_a_checkpoint_with_a_head_and_old_names_is_found(tmp_path):
    torch.manual_seed(0)
    theirs = Wav2Vec2ForPreTraining(Wav2Vec2Config(**SMALL, codevector_dim=8, proj_codevector_dim=8, num_codevectors_per_group=4)).eval()
    theirs.config.save_pretrained(tmp_path)
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = theirs.state_dict()
    for new, old in names.items():
        state = {name.replace(new, old): value for name, value in state.items()}
    assert any(name.endswith("weight_g") for name in state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    ours = SslSpeech("wav2vec2", str(tmp_path))
    ours.load_weights()
    for name, value in theirs.wav2vec2.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], value), name


WHISPER = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_layers": 1,
    "decoder_attention_heads": 2, "decoder_ffn_dim": 24, "vocab_size": 20, "max_source_positions": 50, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip


@pytest.mark.parametrize("network", [WhisperModel, WhisperForConditionalGeneration])
@torch.no_grad()
def test_whisper_hears_a_clip_as_the_library_does(network, tmp_path):
    torch.manual_seed(0)
    theirs = network(WhisperConfig(**WHISPER)).eval()
    theirs.save_pretrained(tmp_path)
    ours = WhisperEncoder(str(tmp_path), padding="paper", hidden_layers="all").eval()
    ours.load_weights()
    clip = 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(2))  # 1 s fills these 50 positions
    mels = WhisperFeatureExtractor(chunk_length=1)(clip[0].numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    expected = theirs.get_encoder()(mels, output_hidden_states=True)
    frontend = LogMel(n_mels=80, n_fft=400, hop_samples=160, pad_mode="reflect", top_db=80.0)
    encoded = ours(frontend(ModelInput(clip, torch.tensor([16_000]))))
    torch.testing.assert_close(encoded.frames, expected.last_hidden_state, rtol=1e-3, atol=1e-4)
    for number in (0, 1):
        torch.testing.assert_close(encoded.hidden_states[number], expected.hidden_states[number], rtol=1e-3, atol=1e-4)
