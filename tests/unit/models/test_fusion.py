import copy
from functools import partial

import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph
from ser_kd.frontends.log_mel import LogMel
from ser_kd.frontends.normalize import NormalizedFrontend
from ser_kd.frontends.precomputed import Precomputed
from ser_kd.frontends.waveform import Waveform
from ser_kd.models.costs import count_multiply_accumulates
from ser_kd.models.encoders.crnn import Crnn
from ser_kd.models.encoders.ecapa_tdnn import EcapaTdnn
from ser_kd.models.encoders.ssl_speech import SslSpeech
from ser_kd.models.encoders.text_bert import TextBert
from ser_kd.models.fusion import EarlyFusion, LateFusion, joins_frames
from ser_kd.models.heads import LinearHead
from ser_kd.models.named_features import list_heard_features
from ser_kd.models.pooling import MeanPooling
from ser_kd.models.pretrained import pretrained_parts
from ser_kd.models.speech_model import SpeechModel
from ser_kd.models.upstream import Upstream
from ser_kd.transforms.time_freq_mask import TimeFrequencyMask

SSL = {"weights": "random", "layers": 1, "width": 64, "conv_width": 8}
ECAPA = partial(EcapaTdnn, channels=8, embedding_width=5, attention_width=6, bottleneck_width=4, scale=4)
BERT = {"weights": "random", "layers": 1, "width": 64, "vocabulary_size": 90}


@pytest.fixture
def inputs():
    waveforms = torch.randn(3, 6400, generator=torch.Generator().manual_seed(0))
    return ModelInput(waveforms, torch.tensor([6400, 4000, 1500]), ["so it is", "no", ""], keys=torch.arange(3))


def make_ssl(seed=0, architecture="wav2vec2", **more):
    torch.manual_seed(seed)
    return Upstream(partial(SslSpeech, architecture, **{**SSL, **more}), Waveform())


def make_branch(seed=0, frontend=None, **more):
    torch.manual_seed(seed)
    return SpeechModel(ECAPA, frontend or LogMel(n_mels=9), **more)


def make_late(branches, seed=0, classes=4):
    model = SpeechModel(partial(LateFusion, branches), Waveform(), classes=classes)
    torch.manual_seed(seed)
    model.head = LinearHead(model.width, classes)
    return model


class TestEarlyFusion:
    def test_a_part_beside_itself_is_its_features_twice(self, inputs):
        part = make_ssl().eval()
        joined, alone = EarlyFusion({"first": part, "second": part}).eval()(inputs), part(inputs)
        assert torch.equal(joined.frames, torch.cat([alone.frames, alone.frames], dim=2))
        assert torch.equal(joined.lengths, alone.lengths)

    def test_a_clip_is_heard_the_same_alone_and_in_a_batch(self, inputs):
        fusion = EarlyFusion({"wav2vec2": make_ssl(0), "hubert": make_ssl(1, "hubert", width=128), "mel": LogMel(hop_samples=320)})
        model = SpeechModel(ECAPA, fusion).eval()
        assert (fusion.width, model.encoder.input_width) == (64 + 128 + 64, 256)
        together = model(inputs).embedding
        for row in range(3):
            torch.testing.assert_close(model(inputs.take_alone(row)).embedding[0], together[row], rtol=1e-4, atol=1e-5)

    def test_the_longer_is_cut_to_the_shorter(self, inputs):
        part, mel = make_ssl().eval(), LogMel(hop_samples=320)
        joined, heard, mels = EarlyFusion({"mel": mel, "ssl": part})(inputs), part(inputs), mel(inputs)
        assert (mels.frames.shape[1], heard.frames.shape[1]) == (21, 19)
        assert joined.frames.shape == (3, 19, 128)
        assert torch.equal(joined.frames[:, :, :64], mels.frames[:, :19])
        assert torch.equal(joined.frames[:, :, 64:], heard.frames)
        assert joined.lengths.tolist() == torch.minimum(mels.lengths, heard.lengths).tolist()
        whole = ModelInput(inputs.waveforms, torch.full((3,), 6400))
        assert EarlyFusion({"ssl": part})(whole).lengths is None  # it knows that every frame is valid
        assert EarlyFusion({"mel": mel, "ssl": part})(whole).lengths.tolist() == [19, 19, 19]

    def test_other_frame_rates_are_named(self, inputs):
        fusion = EarlyFusion({"ssl": make_ssl(), "mel": LogMel(hop_samples=160)})
        with pytest.raises(ConfigError, match=r"different rates(.|\n)*'mel' a frame every 156 samples \(41\) and 'ssl' a frame every 337"):
            fusion(inputs)
        assert joins_frames(SpeechModel(ECAPA, fusion))
        assert not joins_frames(make_branch())

    def test_texts_and_nothing_are_refused(self):
        with pytest.raises(ConfigError, match=r"'words', which reads(.|\n)*LateFusion"):
            EarlyFusion({"mel": LogMel(), "words": Upstream(TextBert(**BERT))})
        with pytest.raises(ConfigError, match="got:      none"):
            EarlyFusion({})
        for name in ("a.b", "keys", ""):
            with pytest.raises(ConfigError, match=f"the name '{name}'"):
                EarlyFusion({name: LogMel()})

    def test_its_state_makes_the_same_model_again(self, inputs):
        model, other = (SpeechModel(ECAPA, EarlyFusion({"a": make_ssl(seed), "b": make_ssl(seed + 1, "hubert")})).eval() for seed in (0, 7))
        assert not torch.equal(model(inputs).embedding, other(inputs).embedding)
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(inputs).embedding, other(inputs).embedding)
        assert {name.split(".")[2] for name in model.state_dict() if name.startswith("frontend.parts")} == {"a", "b"}

    def test_parts_that_wait_for_weights_are_found(self):
        fusion = EarlyFusion({"a": make_ssl(), "b": make_ssl(weights="pretrained", source="facebook/wav2vec2-base")})
        (waiting,) = pretrained_parts(SpeechModel(ECAPA, fusion))
        assert waiting is fusion.parts["b"].encoder


class TestLateFusion:
    @pytest.mark.parametrize("training", [False, True])
    def test_one_branch_is_the_plain_model(self, inputs, training):
        masks = [TimeFrequencyMask(time_masks=1, max_time_width_frames=9)]
        branch = make_branch(feature_transforms=masks)
        plain = copy.deepcopy(branch)
        torch.manual_seed(0)
        plain.head = LinearHead(plain.width, 4)
        late = make_late({"only": branch}).train(training)
        found, expected = late(inputs), plain.train(training)(inputs)
        assert torch.equal(found.logits, expected.logits)
        assert torch.equal(found.embedding, expected.embedding)

    def test_embeddings_stand_side_by_side(self, inputs):
        first, second = make_branch(0), make_branch(1, LogMel(n_mels=12, hop_samples=200))  # rates may differ
        model = make_late({"first": first, "second": second}).eval()
        assert model.width == 10
        expected = torch.cat([first(inputs).embedding, second(inputs).embedding], dim=1)
        assert torch.equal(model(inputs).embedding, expected)
        for row in range(3):
            torch.testing.assert_close(model(inputs.take_alone(row)).logits[0], model(inputs).logits[row], rtol=1e-4, atol=1e-5)
        costs = [count_multiply_accumulates(part, inputs) for part in (first, second, model)]
        assert costs[2] == costs[0] + costs[1] + 3 * 10 * 4

    def test_speech_and_text_answer_together_and_are_not_exported(self, inputs):
        bert = TextBert(**BERT)
        bert.begin_fit()
        bert.update_fit(inputs)
        bert.end_fit()
        text = SpeechModel(ECAPA, Upstream(bert))
        model = make_late({"fbank": make_branch(), "text": text}).eval()
        assert model.reads_text
        answer = model(inputs)
        assert torch.equal(answer.embedding[:, 5:], text(inputs).embedding)
        other = model(ModelInput(inputs.waveforms, inputs.lengths, ["so it is not", "no", ""])).logits
        assert (other - answer.logits).abs().amax(dim=1).gt(1e-4).tolist() == [True, False, False]
        with pytest.raises(ConfigError, match="reads transcripts cannot be exported"):
            SpeechGraph(model, FittedClip(None, "masked"))

    def test_a_branch_may_hear_a_named_feature(self, inputs):
        branch = SpeechModel(partial(Crnn, widths=(3, 4), hidden_width=3), Precomputed("prosody", 6), MeanPooling())
        model = make_late({"mel": make_branch(), "prosody": branch}).eval()
        assert list_heard_features(model) == ["prosody"]
        given = ModelInput(inputs.waveforms, inputs.lengths, features={"prosody": (torch.randn(3, 12, 6), torch.tensor([12, 9, 4]))})
        assert torch.equal(model(given).embedding[:, 5:], branch(given).embedding)
        with pytest.raises(ConfigError, match="cannot be exported"):
            SpeechGraph(model, FittedClip(None, "masked"))

    def test_frozen_branches_rest_and_statistics_are_fitted_within(self, inputs):
        frozen = make_branch(1)
        frozen.requires_grad_(False)
        model = make_late({"a": make_branch(0, NormalizedFrontend(LogMel(n_mels=9))), "b": frozen}).train()
        assert model.encoder.branches["a"].training
        assert not model.encoder.branches["b"].training
        (part,) = [part for part in model.modules() if isinstance(part, NormalizedFrontend)]
        part.begin_fit()
        part.update_fit(inputs)
        part.end_fit()
        model(inputs).logits.sum().backward()
        assert model.encoder.branches["a"].encoder.embedding.weight.grad is not None

    def test_its_state_makes_the_same_model_again(self, inputs):
        model, other = (make_late({"a": make_branch(seed), "b": make_branch(seed + 1)}).eval() for seed in (0, 7))
        assert not torch.equal(model(inputs).embedding, other(inputs).embedding)
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(inputs).embedding, other(inputs).embedding)

    def test_what_cannot_be_a_branch_is_told(self):
        with pytest.raises(ConfigError, match=r"'a' gives no embedding alone(.|\n)*one with a head(.|\n)*branches.a.head=null"):
            LateFusion({"a": make_branch(head=partial(LinearHead, classes=2))})
        with pytest.raises(ConfigError, match="got:      LogMel"):
            LateFusion({"a": LogMel()})  # type: ignore[dict-item]
        with pytest.raises(ConfigError, match="got:      none"):
            LateFusion({})
        with pytest.raises(ConfigError, match="front-end of width 9"):
            SpeechModel(partial(LateFusion, {"a": make_branch()}), LogMel(n_mels=9))
        for features in (Features(None, None), Features(torch.zeros(1, 5, 9), None)):
            with pytest.raises(ConfigError, match="hears samples"):
                LateFusion({"a": make_branch()})(features)
