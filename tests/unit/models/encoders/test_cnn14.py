import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.models.encoders.cnn14 import Cnn14
from ser_kd.models.freezing import count_parameters

SMALL = {"widths": (3, 4, 5), "embedding_width": 6}


@pytest.mark.parametrize(
    ("embedding_width", "outputs", "parameters"),
    [(None, None, 75_477_440), (2048, None, 79_673_792), (2048, 527, 80_753_615), (2048, 3, 79_679_939)],
)
def test_published_sizes(embedding_width, outputs, parameters):
    with torch.device("meta"):
        encoder = Cnn14(64, embedding_width=embedding_width)
        head = nn.Identity() if outputs is None else nn.Linear(encoder.width, outputs)
    assert count_parameters(nn.ModuleList([encoder, head]))["trainable"] == parameters


@pytest.mark.parametrize("frames", [16, 41])
def test_frames_come_at_the_reduced_rate(frames, make_features):
    encoded = Cnn14(8, **SMALL)(make_features([frames, frames], 8))
    assert encoded.embedding.shape == (2, 6)
    assert encoded.frames.shape == (2, frames // 4, 5)
    assert encoded.frame_mask is None


def test_the_embedding_is_maximum_plus_mean_over_time(make_features):
    encoded = Cnn14(8, widths=(3, 4), embedding_width=None).eval()(make_features([21, 21], 8))
    torch.testing.assert_close(encoded.embedding, encoded.frames.amax(dim=1) + encoded.frames.mean(dim=1))


@pytest.mark.parametrize(("bins", "widths"), [(8, ()), (8, (2,) * 5)])
def test_a_layout_that_does_not_fit_is_refused(bins, widths):
    with pytest.raises(ConfigError, match=r"mel bins or more"):
        Cnn14(bins, widths=widths)
