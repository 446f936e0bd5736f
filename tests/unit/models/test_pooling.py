import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.masking import lengths_to_mask
from ser_kd.models.pooling import (
    AttentiveStatisticsPooling,
    ChannelAttentionPooling,
    MapAttentionPooling,
    MeanPooling,
    StatisticsPooling,
)

POOLINGS = {
    "mean": MeanPooling,
    "statistics": StatisticsPooling,
    "attentive": lambda: AttentiveStatisticsPooling(6, 5),
    "channel attention": lambda: ChannelAttentionPooling(6),
    "map attention": lambda: MapAttentionPooling(6, channels=3),
}
LENGTHS = torch.tensor([8, 3, 1])


@pytest.mark.parametrize("name", POOLINGS)
def test_padding_changes_nothing(name):
    torch.manual_seed(0)
    pooling = POOLINGS[name]()
    frames = torch.randn(3, 8, 6)
    mask = lengths_to_mask(LENGTHS, 8)
    expected = torch.cat([pooling(frames[row : row + 1, :length]) for row, length in enumerate(LENGTHS.tolist())])
    assert expected.shape == (3, pooling.output_width(6))
    spoilt = torch.where(mask.unsqueeze(-1), frames, torch.full_like(frames, float("nan")))
    torch.testing.assert_close(pooling(spoilt, mask), expected)


@pytest.mark.parametrize("name", POOLINGS)
def test_the_gradient_is_finite_even_for_a_single_frame(name):
    frames = torch.randn(3, 8, 6, requires_grad=True)
    POOLINGS[name]()(frames, lengths_to_mask(LENGTHS, 8)).sum().backward()
    assert torch.isfinite(frames.grad).all()
    assert torch.equal(frames.grad[1, 3:], torch.zeros(5, 6))
    assert frames.grad[0].abs().min() > 0 or "att" in name


def test_statistics_are_mean_and_population_deviation():
    frames = torch.tensor([[[1.0], [3.0], [5.0]]])
    torch.testing.assert_close(StatisticsPooling()(frames), torch.tensor([[3.0, (8 / 3) ** 0.5]]))


def test_attention_with_equal_scores_is_plain_statistics():
    pooling = AttentiveStatisticsPooling(6)
    torch.nn.init.zeros_(pooling.score.weight)
    frames, mask = torch.randn(3, 8, 6), lengths_to_mask(LENGTHS, 8)
    torch.testing.assert_close(pooling(frames, mask), StatisticsPooling()(frames, mask))


def test_attention_listens_where_the_score_is_high():
    pooling = AttentiveStatisticsPooling(2, 2)
    with torch.no_grad():
        pooling.hidden.weight.copy_(10 * torch.eye(2))
        pooling.hidden.bias.zero_()
        pooling.score.weight.copy_(torch.tensor([[50.0, 0.0], [50.0, 0.0]]))
    frames = torch.tensor([[[1.0, 7.0], [-1.0, 9.0]]])
    torch.testing.assert_close(pooling(frames)[:, :2], torch.tensor([[1.0, 7.0]]))


def test_channel_attention_weighs_each_channel_by_itself():
    torch.manual_seed(0)
    pooling, frames = ChannelAttentionPooling(3), torch.randn(2, 7, 3)
    value, score = pooling.value(frames), pooling.score(frames)
    for row in range(2):
        for channel in range(3):
            weights = torch.softmax(score[row, :, channel], dim=0)
            torch.testing.assert_close(pooling(frames)[row, channel], (weights * value[row, :, channel]).sum())


def test_map_attention_is_two_pointwise_convolutions_and_the_products_of_channels():
    torch.manual_seed(0)
    pooling, maps = MapAttentionPooling(12, channels=3), torch.randn(2, 3, 7, 4)  # (B, C, F, M)
    value, score = (torch.einsum("oc,bcfm->bofm", part.weight, maps) + part.bias[:, None, None] for part in (pooling.value, pooling.score))
    pooled = (value * score.softmax(dim=2)).sum(dim=2)  # (B, C, M)
    expected = torch.cat([pooled.flatten(1), torch.stack([one @ one.T for one in pooled]).flatten(1)], dim=1)
    torch.testing.assert_close(pooling(maps.transpose(1, 2).flatten(2)), expected)


def test_channels_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigError, match="do not divide"):
        MapAttentionPooling(10, channels=3)
