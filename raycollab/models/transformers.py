"""Models of transformers, from a folder of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from raycollab.config import require
from raycollab.errors import ModelError
from raycollab.models.base import Model
from raycollab.places import candidates, find_folder

HEADS = {"causal-lm": "AutoModelForCausalLM"}
_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Transformers(Model):
    """A model of transformers with its pretrained weights, in safetensors; code that comes with a model never runs.

    Every host reads the folder, so it must be there on every node.

    Args:
        name: Folder with config.json and model.safetensors; a relative one that does not exist is also looked for under
            $RAYCOLLAB_DATA. A name of the Hugging Face Hub is found in this machine's cache of it.
        head: What it is used for: "causal-lm".
        pretrained: Take the weights; else only the architecture, with fresh weights from torch's seed.
        download: Fetch a name of the Hub that is not in the cache.
        dtype: What it computes in.
    Shapes: tokens int64 [b, t] -> an object with logits [b, t, vocab_size].
    Raises: ModelError where it is built, if it is not found or not of this head.
    """

    name: str
    head: str = "causal-lm"
    pretrained: bool = True
    download: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        require(bool(self.name), "Transformers.name", self.name, "must name a folder, or a model of the Hub")
        require(self.head in HEADS, "Transformers.head", self.head, f"must be one of {tuple(HEADS)}")
        require(self.dtype in _DTYPES, "Transformers.dtype", self.dtype, f"must be one of {_DTYPES}")

    def build(self) -> nn.Module:
        """Load the module."""
        transformers = import_module("transformers")  # seconds that other models need not pay
        place, local = find_folder(self.name) or self.name, not self.download
        kind = getattr(transformers, HEADS[self.head])
        try:
            config = transformers.AutoConfig.from_pretrained(place, local_files_only=local)
            config.use_cache = False  # keys and values of earlier tokens are for generation
            if not self.pretrained:
                return kind.from_config(config, dtype=self.dtype)
            with _no_bar(transformers):
                return kind.from_pretrained(
                    place, config=config, local_files_only=local, use_safetensors=True, dtype=self.dtype
                )
        except (OSError, ValueError) as error:
            raise ModelError(self._refusal(place, " ".join(str(error).split()))) from error

    def _refusal(self, place: str, reason: str) -> str:
        if place != self.name or find_folder(self.name):
            return f"Transformers.name={self.name!r}: {place} holds no {self.head} model that can be loaded: {reason}"
        if self.download:
            return f"Transformers.name={self.name!r}: no folder of this machine, and not had from the Hub: {reason}"
        return (
            f"Transformers.name={self.name!r}: no folder there, and no name in this machine's cache of the Hub; tried: "
            f"{', '.join(candidates(self.name))}: put the model's folder at one of these on every node, or set "
            f"download=True where the Hub can be reached"
        )


@contextmanager
def _no_bar(transformers: Any) -> Iterator[None]:
    """Keep transformers from drawing a bar over the run's own progress."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
