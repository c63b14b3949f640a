"""A net of several encoders, of which each party holds those of its modalities."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from torch import Tensor, nn

from raycollab.errors import ModelError
from raycollab.fusion import Fusion
from raycollab.models.base import Model
from raycollab.models.frozen import Frozen
from raycollab.models.headed import Headed
from raycollab.models.sequential import Sequential
from raycollab.models.tokens import logits_of, trimmed
from raycollab.models.vit import ViT
from raycollab.models.wrapper import Wrapper
from raycollab.settings import require

_TAKEN = ("fusion", "head", "alone")


@dataclass(frozen=True)
class Multimodal(Model):
    """An encoder for each modality, a way of fusing what they make, and a head on it.

    Parameters are named IMAGE.*, fusion.*, head.* and alone.IMAGE.*, where IMAGE is a modality. A party that holds some
    of them takes `only("image")` of the common recipe: its module has the parameters of these modalities and what all
    share, so that each encoder is learned by whoever has data for it. The encoders are also those of
    `TwoTowers(image, text)`, so that contrastive pretraining is a stage before this one.

    Args:
        encoders: By modality: values [b, ...] -> features [b, w], or tokens [b, t, w]; whole numbers are texts, given
            as tokens [b, t] and attention_mask=[b, t].
        fusion: Makes one vector of the features of those that are there.
        num_outputs: Outputs.
        widths: Length w of the features of encoders whose recipe does not say it.
        alone: Whether each modality has a head of its own beside the common one, for auxiliary losses.
        held: Modalities that are built; all if empty.
    Raises: ConfigError for a modality that no module can have as a name, a fusion that asks for one that nobody holds,
        an encoder whose width nothing says, and `held` of none that there is.
    """

    encoders: Mapping[str, Model] = field(hash=False)
    fusion: Fusion
    num_outputs: int
    widths: Mapping[str, int] = field(default_factory=dict, hash=False)
    alone: bool = False
    held: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", tuple(sorted(self.held)))
        require(
            bool(self.encoders), "Multimodal.encoders", {}, "give at least one, such as {'image': rc.models.CNN(64)}"
        )
        for name, encoder in self.encoders.items():
            good = name.isidentifier() and name not in _TAKEN and not hasattr(nn.ModuleDict(), name)
            require(good, "Multimodal.encoders: modality", name, "is no name that a module can have; call it otherwise")
            accepted = "must be a recipe such as rc.models.CNN(64)"
            require(isinstance(encoder, Model), f"Multimodal.encoders[{name!r}]", encoder, accepted)
        accepted = "must be a way of fusing such as rc.fusion.Gated(64)"
        require(isinstance(self.fusion, Fusion), "Multimodal.fusion", self.fusion, accepted)
        self.fusion.check(self.encoders)
        require(self.num_outputs >= 1, "Multimodal.num_outputs", self.num_outputs, "must be >= 1")
        there = f"there are: {', '.join(sorted(self.encoders))}"
        for setting in ("held", "widths"):
            for name in getattr(self, setting):
                require(name in self.encoders, f"Multimodal.{setting}: modality", name, f"has no encoder; {there}")
        for name in self.encoders:
            accepted = f"must say how many features it makes: widths={{{name!r}: N}}"
            require(self.width_of(name) >= 1, f"Multimodal.encoders[{name!r}]", self.encoders[name], accepted)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that are built, sorted."""
        return self.held or tuple(sorted(self.encoders))

    def only(self, *modalities: str) -> Self:
        """The part of it that a party with these modalities holds.

        Raises: ConfigError for one that has no encoder, or none at all.
        """
        there = f"must name some of the modalities that there are: {', '.join(sorted(self.encoders))}"
        known = bool(modalities) and all(name in self.encoders for name in modalities)
        require(known, "Multimodal.only", modalities, there)
        return replace(self, held=modalities)

    def width_of(self, modality: str) -> int:
        """Length of the features of a modality; 0 if nothing says it."""
        return self.widths.get(modality) or _width(self.encoders[modality])

    def build(self) -> "MultimodalNet":
        """Make the module; encoders first, in the order of their names."""
        return MultimodalNet(self)


class MultimodalNet(nn.Module):
    """The module of a Multimodal recipe.

    Args:
        form: The recipe.
    Shapes: values by modality [b, ...], and which rows have them, bool [b] -> outputs [b, num_outputs].
    """

    def __init__(self, form: Multimodal):
        super().__init__()
        self.modalities = form.modalities
        for name in self.modalities:
            self.add_module(name, form.encoders[name].build())
        widths = {name: form.width_of(name) for name in self.modalities}
        self.fusion = form.fusion.build(widths, form.num_outputs)
        self.head = nn.Identity() if form.fusion.decides else nn.Linear(form.fusion.width, form.num_outputs)
        heads = widths if form.alone else {}
        self.alone = nn.ModuleDict({name: nn.Linear(width, form.num_outputs) for name, width in heads.items()})

    def forward(self, values: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Outputs, whatever is there."""
        present = present or {}
        outputs: Tensor = self.head(self.fusion(self.encode(values, present), present))
        return outputs

    def encode(self, values: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features of each modality, zeros where it is absent; an encoder runs on the rows that have its modality.

        One that no row has is left out, and its encoder does not run.

        Raises: ModelError for a modality without an encoder here.
        """
        features = {}
        for name in sorted(values):
            if name not in self.modalities:
                raise ModelError(f"there is no encoder of {name!r} here; there are: {', '.join(self.modalities)}")
            made = self._encoded(name, values[name], present.get(name))
            if made is not None:
                features[name] = made
        return features

    def _encoded(self, name: str, values: Tensor, there: Tensor | None) -> Tensor | None:
        encoder = self.get_submodule(name)
        if there is None or bool(there.all()):
            return _run(encoder, values)
        rows = there.nonzero()[:, 0]
        if not len(rows):
            return None
        made = _run(encoder, values[rows])
        return made.new_zeros(len(values), *made.shape[1:]).index_copy(0, rows, made)

    def each_alone(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the heads of single modalities make of their features [b, num_outputs]; nothing without such heads."""
        pooled = {name: made.mean(1) if made.ndim == 3 else made for name, made in features.items()}
        return {name: head(pooled[name]) for name, head in self.alone.items() if name in pooled}


def _run(encoder: nn.Module, values: Tensor) -> Tensor:
    """Features; texts are told from padding."""
    if values.ndim == 2 and not values.is_floating_point():
        return logits_of(encoder, trimmed(values))
    output = encoder(values)
    features: Tensor = getattr(output, "logits", output)
    if features.ndim not in (2, 3):
        raise ModelError(
            f"{type(encoder).__name__} made features of shape {list(features.shape)} of values of shape "
            f"{list(values.shape)}; give an encoder that makes [b, w], or tokens [b, t, w]"
        )
    return features


def _width(encoder: Model) -> int:
    """How many outputs a recipe says that its net has; 0 if it says nothing."""
    if isinstance(encoder, Sequential):
        return _width(encoder.parts[-1])
    if isinstance(encoder, Headed):
        return _width(encoder.head)
    if isinstance(encoder, Wrapper | Frozen):
        return _width(encoder.net)
    if isinstance(encoder, ViT):
        return encoder.width
    return getattr(encoder, "num_outputs", None) or getattr(encoder, "num_labels", None) or 0
