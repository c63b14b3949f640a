"""Classification of examples of several modalities, of which any may be absent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from raycollab import models
from raycollab.errors import ModelError
from raycollab.metrics import Average, Statistics
from raycollab.metrics.subsets import subset_metric, subsets
from raycollab.models import MultimodalNet
from raycollab.settings import require
from raycollab.spec import ParamSpec
from raycollab.task import Fingerprint
from raycollab.tasks.classification import Classification, check_labels
from raycollab.tasks.modalities import check_modalities, dropped, on_subset, presence
from raycollab.types import Batch

FUSED = "fused"
_MOST = 6  # modalities of whose subsets all are scored: 63


@dataclass(frozen=True)
class Multimodal(Classification):
    """Classification by a net of several encoders; what else is said is Classification's.

    A party that holds some of the modalities takes `only("image")`. Of the others, rows may lack some: a column
    `has_NAME` of 0 and 1 says which rows have something in column NAME; without it all do, and a column that is not
    there is absent from all rows. Whatever is there gives a prediction, and is trained with.

    Metrics are also those of each subset of the modalities, over the rows that have one of them: "accuracy[image]",
    "accuracy[audio+image]".

    Args:
        net: rc.models.Multimodal, whose num_outputs is the number of classes.
        columns: Column of each modality that is not called as its modality is.
        auxiliary: Weight of each modality's own loss, by its head alone, beside the common one; needs the net's
            `alone`.
        blending: Weights of the losses by name, "fused" and modalities, in place of that: gradient blending, as
            `rc.fusion.blend` makes them.
        modality_dropout: Chance in training that a row goes without a modality that it has, in [0, 1); a row that would
            be left without any keeps all.
        grid: Whether all subsets are scored.
    Source: gradient blending Wang et al., CVPR 2020, arXiv 1905.12681, equation 2; dropout of modalities Neverova et
        al., 2016, IEEE TPAMI 38(8), arXiv 1501.00102, section 4.2.
    """

    net: models.Multimodal
    inputs: tuple[str, ...] = field(init=False, default=())  # type: ignore[assignment]
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    auxiliary: float = 0.0
    blending: Mapping[str, float] = field(default_factory=dict, hash=False)
    modality_dropout: float = 0.0
    grid: bool = True

    needs_all_inputs = False

    def __post_init__(self) -> None:
        accepted = "must be rc.models.Multimodal({'image': rc.models.CNN(64), ...}, rc.fusion.Gated(64), num_outputs=N)"
        require(isinstance(self.net, models.Multimodal), "Multimodal.net", self.net, accepted)
        object.__setattr__(self, "inputs", tuple(map(self.column_of, self.modalities)))
        super().__post_init__()
        own, known = self.net.num_outputs, ", ".join(sorted(self.net.encoders))
        require(own == self.num_classes, "Multimodal.num_classes", self.num_classes, f"must be the net's {own}")
        for name in self.columns:
            require(name in self.net.encoders, "Multimodal.columns: modality", name, f"has no encoder among: {known}")
        require(self.auxiliary >= 0, "Multimodal.auxiliary", self.auxiliary, "must be >= 0")
        for name, weight in self.blending.items():
            good = weight >= 0 and name in (FUSED, *self.net.encoders)
            accepted = f"must be >= 0, and of {FUSED!r} or one of: {known}"
            require(good, f"Multimodal.blending[{name!r}]", weight, accepted)
        some = self.net.alone or not (self.auxiliary or set(self.blending) - {FUSED})
        require(some, "Multimodal.net.alone", False, "must be true for losses of single modalities")
        rate = self.modality_dropout
        require(0 <= rate < 1, "Multimodal.modality_dropout", rate, "must be in [0, 1)")
        count = len(self.modalities)
        accepted = f"must be false for more than {_MOST} modalities, of which there are {count}"
        require(not self.grid or count <= _MOST, "Multimodal.grid", True, accepted)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that are held, sorted."""
        return self.net.modalities

    def column_of(self, modality: str) -> str:
        """The column of a modality."""
        return self.columns.get(modality, modality)

    def only(self, *modalities: str) -> Self:
        """The task of a party with these modalities alone.

        Raises: ConfigError for one that has no encoder, or none at all.
        """
        return replace(self, net=self.net.only(*modalities))

    @property
    def tells_losses(self) -> bool:
        """Not of one tensor of inputs."""
        return False

    def inputs_of(self, batch: Batch) -> Tensor:
        """There is no such tensor.

        Raises: ModelError that says so.
        """
        del batch
        raise ModelError("Multimodal gives its net several columns by name, not one tensor: use another learner")

    def weight_of(self, loss: str) -> float:
        """The weight of a loss, "fused" or a modality's own."""
        if self.blending:
            return self.blending.get(loss, 0.0)
        return 1.0 if loss == FUSED else self.auxiliary

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean of the weighted sum of each example's losses: the common one, and those of what it has alone []."""
        net, (values, present) = cast(MultimodalNet, model), self._given(batch)
        if model.training and self.modality_dropout:
            present = dropped(values, present, self.modality_dropout)
        features = net.encode(values, present)
        losses = self.losses(net.head(net.fusion(features, present)), batch) * self.weight_of(FUSED)
        for name, logits in net.each_alone(features).items():
            if weight := self.weight_of(name):
                own = self.losses(logits, batch) * weight
                losses = losses + (own * present[name] if name in present else own)
        return losses.mean()

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """The net's output of whatever is there [b, num_classes]."""
        logits: Tensor = model(*self._given(batch))
        return logits.float()

    def features(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the fusion makes, which the head is given [b, width]."""
        net, (values, present) = cast(MultimodalNet, model), self._given(batch)
        made: Tensor = net.fusion(net.encode(values, present), present)
        return made

    def loss_and_features(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both."""
        return self.loss(model, batch), self.features(model, batch)

    def statistics(self, model: nn.Module, batch: Batch) -> Statistics:
        """Those of Classification with all that is there, and what is right with each subset; encoders run once."""
        net, (values, present) = cast(MultimodalNet, model), self._given(batch)
        features, labels = net.encode(values, present), batch[self.label].long()
        scores = dict(self.scored(net.head(net.fusion(features, present)).float(), batch).parts)
        for name, logits in net.each_alone(features).items():
            there = present.get(name, torch.ones_like(labels, dtype=torch.bool))
            own = functional.cross_entropy(logits[there].float(), labels[there], reduction="sum").item()
            scores[f"loss[{name}]"] = Average(f"loss[{name}]", own, int(there.sum()))
        for names in subsets(features) if self.grid else ():
            rows, some, who = on_subset(features, present, names)
            right = int((net.head(net.fusion(some, who)).argmax(1) == labels[rows]).sum()) if len(rows) else 0
            scores[subset_metric(names)] = Average(subset_metric(names), right, len(rows))
        return Statistics.of(scores)

    def count(self, batch: Batch) -> int:
        """Number of examples."""
        return len(next(iter(batch.values())))

    def fingerprint(self, spec: ParamSpec) -> Fingerprint:
        """Loss, metrics and exchanged names."""
        own = super().fingerprint(spec)
        weights = {name: self.weight_of(name) for name in (FUSED, *self.modalities)}
        also = {name: weight for name, weight in weights.items() if weight != (name == FUSED)}
        loss = (
            f"{own.loss} of {', '.join(f'{name} times {weight:g}' for name, weight in also.items())}"
            if also
            else own.loss
        )
        grid = tuple(map(subset_metric, subsets(self.modalities))) if self.grid else ()
        return replace(own, loss=loss, metrics=(*own.metrics, *grid))

    def check(self, columns: Mapping[str, Tensor], where: str) -> Tensor:
        """Which rows can be learned from: those that have a known label and a modality, with finite values; bool [n].

        Raises: DataError for a missing label, a shard without any of the modalities, columns of another form, or bad
            rows if `bad_rows` is "error".
        """
        labelled = check_labels(columns, self.label, self.num_classes, where, self.bad_rows)
        known = {name: getattr(self.net.encoders[name], "vocab_size", None) for name in self.modalities}
        names = dict(zip(known, self.inputs, strict=True))
        return labelled & check_modalities(columns, names, known, where, self.bad_rows)

    def coverage(self, columns: Mapping[str, Tensor]) -> str:
        """How many of the labels the data has, and how many rows have each modality."""
        values, present = self._given(columns)
        counts = {name: int(present[name].sum()) if name in present else len(values[name]) for name in values}
        return f"{super().coverage(columns)}, with {', '.join(f'{name} {count:,}' for name, count in counts.items())}"

    def _given(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Values by modality, and which rows have those of which some lack any."""
        return presence(batch, dict(zip(self.modalities, self.inputs, strict=True)))
