"""Tiny nets of transformers with fresh weights, and a net whose answers are known."""

import torch
from torch import nn
from torch.nn import functional

from raycollab.models import Transformers

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert(head, *, vocab_size=12, num_labels=None, **changes):
    config = {
        "model_type": "bert",
        "vocab_size": vocab_size,
        "max_position_embeddings": 16,
        **SIZES,
        **STILL,
        **changes,
    }
    return Transformers(head=head, pretrained=False, num_labels=num_labels, config=config)


def bart(vocab_size=12, **changes):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    sizes |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 16}
    marks = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 2}
    config = {"model_type": "bart", "vocab_size": vocab_size, **sizes, **marks, "forced_eos_token_id": None, **changes}
    return Transformers(head="seq2seq-lm", pretrained=False, config={**config, "dropout": 0.0})


class Counts(nn.Module):
    """Logits of a text: how often each token stands in it, times log(3); it keeps what it was given."""

    def __init__(self, width=3):
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, tokens, attention_mask):
        self.given = tokens, attention_mask
        told = functional.one_hot(tokens, self.width) * attention_mask[:, :, None]
        return told.sum(1) * torch.log(torch.tensor(3.0)) * self.scale


class Echo(nn.Module):
    """Logits of each token: log(3) for the token itself, 0 for the others of a few."""

    def __init__(self, width=3):
        super().__init__()
        self.width = width

    def forward(self, tokens, attention_mask):
        self.given = tokens, attention_mask
        return functional.one_hot(tokens, self.width) * torch.log(torch.tensor(3.0))
