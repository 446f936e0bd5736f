import pytest
import torch
from torch import nn

from ser_kd.contracts.outputs import Encoded, Outputs
from ser_kd.deploy.torch_calls import TorchModel, count_tensor_bytes
from ser_kd.frontends.log_mel import LogMel
from ser_kd.models.heads import LinearHead
from ser_kd.models.pretrained import keep_random_weights
from ser_kd.models.speech_model import SpeechModel


class MeanFrames(nn.Module):
    def __init__(self, input_width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_width, 5)
        self.width = 5

    def forward(self, features):
        return Encoded(None, embedding=self.layer(features.frames.mean(dim=1)))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_network_alone_answers_as_the_whole(threads):
    torch.manual_seed(0)
    model = SpeechModel(MeanFrames, LogMel(n_mels=20), head=LinearHead, classes=3)
    calls = TorchModel(model, threads=1).make_calls(3200)
    assert set(calls) == {"whole", "frontend", "network"}
    probabilities = calls["whole"]()
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0))
    asked = []
    model.frontend.register_forward_hook(lambda *_: asked.append("frontend"))
    torch.testing.assert_close(calls["network"](), probabilities, rtol=0, atol=0)
    assert asked == []
    assert calls["frontend"]().frames.shape[2] == 20
    assert torch.get_num_threads() == 1


def test_a_student_that_starts_from_its_teacher_is_measured_too(threads):
    class Blocks(MeanFrames):
        weights = "teacher"

    model = SpeechModel(Blocks, LogMel(n_mels=20), head=LinearHead, classes=3, init_from="teacher")
    keep_random_weights(model)
    calls = TorchModel(model, threads=1).make_calls(3200)
    torch.testing.assert_close(calls["network"](), calls["whole"](), rtol=0, atol=0)


def test_another_model_is_measured_whole(threads):
    class Answer(nn.Module):
        def forward(self, inputs):
            return Outputs(dimensions=inputs.waveforms.mean(dim=1, keepdim=True))

    calls = TorchModel(Answer(), threads=1).make_calls(100)
    assert set(calls) == {"whole"}
    assert calls["whole"]().dimensions.shape == (1, 1)


def test_bytes_of_a_state_dict():
    assert count_tensor_bytes(nn.BatchNorm1d(4)) == 4 * 4 * 4 + 8
