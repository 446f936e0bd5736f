import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.frontends.waveform import Waveform
from ser_kd.models.encoders.crnn import Crnn
from ser_kd.models.encoders.spectrogram_transformer import SpectrogramTransformer
from ser_kd.models.encoders.ssl_speech import SslSpeech
from ser_kd.models.freezing import count_parameters
from ser_kd.models.heads import LinearHead
from ser_kd.models.pooling import MeanPooling
from ser_kd.models.pretrained import keep_random_weights, load_pretrained
from ser_kd.models.speech_model import SpeechModel
from ser_kd.models.teacher_start import start_from_teacher

INPUTS = ModelInput(torch.randn(2, 40, generator=torch.Generator().manual_seed(0)), torch.tensor([40, 30]))


def make(layers=2, classes=4, encoder=None, **more):
    encoder = encoder or SpectrogramTransformer(1, width=8, heads=2, layers=layers)
    return SpeechModel(encoder, Waveform(), MeanPooling(), LinearHead, classes, **more).eval()


def test_it_waits_for_its_teacher_and_adds_nothing_to_the_weights():
    student = make(init_from="teacher")
    assert student.state_dict().keys() == make().state_dict().keys()
    assert count_parameters(student) == count_parameters(make())
    for ask in (lambda: student(INPUTS), lambda: load_pretrained(student)):
        with pytest.raises(ConfigError, match=r"(?s)nobody gave it any.*teacher\.experiment=NAME"):
            ask()
    told = start_from_teacher(student, [make(4)])
    assert told.startswith("started from blocks 2, 4 of the teacher")
    assert load_pretrained(student) == []
    assert student(INPUTS).logits.shape == (2, 4)
    assert start_from_teacher(student, []) == ""  # it waits no longer


def test_a_checkpoint_of_its_own_needs_no_teacher():
    student, again = make(init_from="teacher"), make(init_from="teacher")
    start_from_teacher(student, [make(4)])
    again.load_state_dict(student.state_dict())
    assert torch.equal(again(INPUTS).logits, student(INPUTS).logits)
    counted = make(init_from="teacher")
    assert keep_random_weights(counted) == []
    counted(INPUTS)


@pytest.mark.parametrize("copies", [False, True])
def test_the_head_comes_along_where_it_is_wanted(copies):
    student, teacher = make(init_from="teacher", copy_head=copies), make(4)
    told = start_from_teacher(student, [teacher])
    assert torch.equal(student.head.classifier.weight, teacher.head.classifier.weight) == copies
    assert told.endswith("with its head") == copies


def test_a_start_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="starts from one teacher"):
        start_from_teacher(make(init_from="teacher"), [])
    with pytest.raises(ConfigError, match="starts from one teacher"):
        start_from_teacher(make(init_from="teacher"), [make(4), make(4)])
    with pytest.raises(ConfigError, match="head does not fit"):
        start_from_teacher(make(init_from="teacher", copy_head=True), [make(4, classes=5)])
    with pytest.raises(ConfigError, match="Crnn has no blocks"):
        start_from_teacher(make(encoder=Crnn(2, widths=(2,), hidden_width=2), init_from="teacher"), [make(4)])
    with pytest.raises(ConfigError, match="spread evenly"):
        start_from_teacher(make(init_from="teacher"), [make(3)])
    with pytest.raises(ConfigError, match=r"2 rising numbers from 1 to 4"):
        start_from_teacher(make(init_from="teacher", layer_map=[2, 5]), [make(4)])


def test_a_map_of_blocks_without_a_start_is_refused():
    with pytest.raises(ConfigError, match="the student starts at random"):
        make(layer_map=[2, 4])


@pytest.mark.parametrize("start", ["pretrained", "hub"])
def test_an_encoder_without_weights_elsewhere_starts_from_none(start):
    with pytest.raises(ConfigError, match="does not start as init_from says"):
        make(init_from=start)


def test_an_encoder_that_waits_for_a_teacher_is_no_model_by_itself():
    tiny = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "conv_dim": [4] * 7, "num_conv_pos_embedding_groups": 2}
    encoder = SslSpeech(weights="teacher", settings=tiny, layers=1)
    with pytest.raises(ConfigError, match="does not start as init_from says"):
        make(encoder=encoder)
    make(encoder=encoder, init_from="teacher")
