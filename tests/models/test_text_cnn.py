"""A convolutional net for texts: padding is nothing, order counts, and what is refused."""

import pytest
import torch

from raycollab.errors import ConfigError
from raycollab.models import TextCNN

FORM = TextCNN(3, vocab_size=10, embedding=4, channels=5, kernels=(2, 3))


def outputs(net, *texts):
    longest = max(map(len, texts))
    tokens = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return net(tokens, attention_mask=mask)


def test_padding_changes_nothing():
    net = FORM.build()
    for text in ([4], [1, 2], [3, 1, 2, 5]):
        torch.testing.assert_close(outputs(net, text, [1] * 9)[:1], outputs(net, text))


def test_the_order_of_words_counts():
    net = FORM.build()
    assert not torch.allclose(outputs(net, [1, 2, 3]), outputs(net, [3, 2, 1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_outputs": 0}, "TextCNN.num_outputs=0: must be >= 1"),
        ({"kernels": ()}, r"TextCNN.kernels=\(\): must be numbers of tokens"),
        ({"dropout": 1.0}, r"TextCNN.dropout=1.0: must be in \[0, 1\)"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TextCNN(**{"num_outputs": 3, "vocab_size": 10, **settings})
