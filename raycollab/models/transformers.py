"""Models of transformers: with the weights of a folder of this machine, or fresh ones of any architecture."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import nn

from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.places import candidates, find_folder, not_found
from raycollab.settings import require

HEADS = {
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "image-to-text": "AutoModelForImageTextToText",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "image-classification": "AutoModelForImageClassification",
}
_PARTS = ("encoder", "decoder", "decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Transformers(Model):
    """A model of transformers with its pretrained weights, in safetensors; code that comes with a model never runs.

    Every host reads the folder, so it must be there on every node.

    Args:
        name: Folder with config.json and model.safetensors, or `package:NAME/FOLDER` inside an installed package; a
            relative one that does not exist is also looked for under $RAYCOLLAB_DATA. A name of the Hugging Face Hub is
            found in this machine's cache of it. Empty takes the architecture from `config`.
        head: What it is used for: "causal-lm", "masked-lm", "seq2seq-lm", "image-to-text" (captions),
            "sequence-classification", "token-classification" or "image-classification".
        pretrained: Take the weights; else only the architecture, with fresh weights from torch's seed.
        download: Fetch a name of the Hub that is not in the cache.
        dtype: What it computes in.
        num_labels: Classes of a classification head; None takes those that the model has.
        fresh_head: Give it a new head, from torch's seed, though one is stored. A head that is not stored is always
            fresh.
        config: Settings of the architecture that differ from the model's own, such as {"hidden_dropout_prob": 0.0};
            without a name all that differ from transformers' defaults, and its "model_type", such as "bert".
    Shapes: tokens int64 [b, t] -> an object with logits [b, t, vocab_size], or [b, num_labels] for whole texts; images
        [b, channels, height, width] -> logits [b, num_labels].
    Raises: ModelError where it is built, if it is not found, not of this head, or has a head of other classes.
    """

    name: str = ""
    head: str = "causal-lm"
    pretrained: bool = True
    download: bool = False
    dtype: str = "float32"
    num_labels: int | None = None
    fresh_head: bool = False
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        accepted = "must name a folder, or a model of the Hub; or give config={'model_type': ...} instead"
        require(bool(self.name) or "model_type" in self.config, "Transformers.name", self.name, accepted)
        require(self.head in HEADS, "Transformers.head", self.head, f"must be one of {tuple(HEADS)}")
        require(self.dtype in _DTYPES, "Transformers.dtype", self.dtype, f"must be one of {_DTYPES}")
        stored = bool(self.name) or not self.pretrained
        accepted = "there are no weights without a name; set pretrained=False for fresh ones"
        require(stored, "Transformers.pretrained", self.pretrained, accepted)
        good = self.num_labels is None or (self.classifies and self.num_labels >= 1)
        accepted = "must be >= 1, and only for heads of classification"
        require(good, "Transformers.num_labels", self.num_labels, accepted)
        good = not self.fresh_head or (self.classifies and self.pretrained)
        accepted = "is for pretrained models with a head of classification"
        require(good, "Transformers.fresh_head", self.fresh_head, accepted)

    @property
    def classifies(self) -> bool:
        """Whether its head has classes."""
        return self.head.endswith("-classification")

    @property
    def vocab_size(self) -> int | None:
        """Tokens that it knows, as its folder says; None if it takes none.

        Raises: ModelError if the folder is not there.
        """
        config = _configuration(self)
        return getattr(getattr(config, "decoder", config), "vocab_size", None)

    def build(self) -> nn.Module:
        """Load the module."""
        transformers = import_module("transformers")  # seconds that other models need not pay
        kind, config = getattr(transformers, HEADS[self.head]), _configuration(self)
        with _quiet(transformers), self.explained():
            if not self.pretrained:
                return kind.from_config(config, dtype=self.dtype)
            module, found = kind.from_pretrained(
                find_folder(self.name) or self.name,
                config=config,
                local_files_only=not self.download,
                use_safetensors=True,
                dtype=self.dtype,
                ignore_mismatched_sizes=True,  # said below, with what to do
                output_loading_info=True,
            )
        head = self._head_of(module)
        self._check(found, set(head))
        if self.fresh_head:
            fresh = kind.from_config(config, dtype=self.dtype).state_dict()
            with torch.no_grad():
                for name, tensor in head.items():
                    tensor.copy_(fresh[name])
        return module

    def _head_of(self, module: Any) -> dict[str, torch.Tensor]:
        """What stands above the trunk that all heads share; nothing where names do not tell."""
        trunk, state = f"{module.base_model_prefix}.", module.state_dict()
        head = {name: tensor for name, tensor in state.items() if not name.startswith(trunk)}
        return head if len(head) < len(state) else {}

    def _check(self, found: Mapping[str, Any], head: set[str]) -> None:
        """Raise ModelError for a trunk that was not stored whole, or a head of another size, unless it is made anew."""
        where = f"Transformers.name={self.name!r}"
        lacking = sorted(name for name in found["missing_keys"] if name not in head and ".pooler." not in name)
        if lacking:
            raise ModelError(
                f"{where}: holds no {self.head} model that can be loaded: weights of {', '.join(lacking[:3])} are not "
                f"stored; set pretrained=False for fresh ones, or name another head or folder"
            )
        for name, stored, asked in sorted(found["mismatched_keys"]):
            if name not in head or not self.fresh_head:
                remedy = (
                    f"set num_labels={stored[0]} to use the stored head, or fresh_head=True to begin a new one"
                    if name in head and self.classifies
                    else "leave sizes out of config"
                )
                raise ModelError(f"{where}: {name} is stored as {list(stored)}, and {list(asked)} is asked: {remedy}")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what transformers raises into a ModelError that says what was asked for and what to do."""
        try:
            yield
        except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
            raise ModelError(self._refusal(" ".join(str(error).split()))) from error

    def _refusal(self, reason: str) -> str:
        where = f"Transformers.name={self.name!r}"
        if not self.name:
            return f"Transformers.config={dict(self.config)!r}: makes no {self.head} model: {reason}"
        place = find_folder(self.name)
        if place:
            return f"{where}: {place} holds no {self.head} model that can be loaded: {reason}"
        missing = not_found(self.name, "the model's folder")
        if not candidates(self.name):  # a package, which is no name of the Hub
            return f"{where}: {missing}"
        if self.download:
            return f"{where}: no folder of this machine, and not had from the Hub: {reason}"
        remedy = "or set download=True where the Hub can be reached"
        return f"{where}: {missing}; this machine's cache of the Hub has no model of that name: fill it, {remedy}"


def _configuration(recipe: Transformers) -> Any:
    """The architecture, with what the recipe sets.

    Raises: ModelError if it cannot be had, or has no such setting.
    """
    auto = import_module("transformers").AutoConfig
    changes = {name: value for name, value in recipe.config.items() if name != "model_type"}
    with recipe.explained():
        if recipe.name:
            place, local = find_folder(recipe.name) or recipe.name, not recipe.download
            config = auto.from_pretrained(place, local_files_only=local)
            config = type(config).from_dict({**config.to_dict(), **changes})
        else:
            config = auto.for_model(recipe.config["model_type"], **changes)
    strange = [name for name in changes if not _knows(type(config), name)]
    if strange:
        raise ModelError(
            f"Transformers.config[{strange[0]!r}]={changes[strange[0]]!r}: {type(config).__name__} has no such "
            f"setting; see its page in the documentation of transformers"
        )
    config.use_cache = False  # keys and values of earlier tokens are for generation
    if recipe.num_labels not in (None, getattr(config, "num_labels", None)):
        config.num_labels = recipe.num_labels
    return config


def _knows(kind: type, name: str) -> bool:
    """Whether a class of configurations has a setting of this name: any other would be kept, and do nothing."""
    annotated = any(name in vars(each).get("__annotations__", {}) for each in kind.__mro__)
    named = (*getattr(kind, "attribute_map", {}), *getattr(kind, "sub_configs", {}), *_PARTS)
    return annotated or hasattr(kind, name) or name in named


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from drawing a bar over the run's own progress, and from telling what is checked here."""
    logging = transformers.utils.logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
