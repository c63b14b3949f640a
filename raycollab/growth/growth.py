"""Growth of the common model as a setting of an experiment."""

from dataclasses import dataclass

from raycollab.growth.when import When
from raycollab.models.base import Model
from raycollab.models.sliced import unscaled
from raycollab.settings import Settings, require


@dataclass(frozen=True)
class Growth(Settings):
    """The common model begins in a small form and grows while it is trained; the task's own net is its last form.

    Each form lies in the next one: its tensors are the first rows, columns, ... of those of the same names. Vectors of
    the driver have the size of the last from the start, and agents exchange the part that is in use. A step to the next
    form leaves what the model says as it is: see `raycollab.growth.Step`. Every step is a row of changes.parquet.

    An agent that holds a part of the net, or brings a smaller one, keeps it and still adds to the same elements; but a
    step that widens a layer shares what goes out of a unit among its copies, of which that agent has not all: its own
    small net says something else after it, until it has learned again.

    Args:
        forms: The earlier nets, from the smallest on.
        when: Says when the next form begins.
        probation: Evaluations after a step in which a fall of the score on the shared set counts against it; 0 never
            looks.
        tolerance: The fall that counts is larger than this, in units of the primary metric.
        patience: Evaluations in a row with such a fall that take the step back: what is new may disturb at first.
    """

    forms: tuple[Model, ...]
    when: When
    probation: int = 3
    tolerance: float = 0.05
    patience: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "forms", tuple(self.forms))
        recipes = bool(self.forms) and all(isinstance(form, Model) for form in self.forms)
        accepted = "must be recipes of smaller nets, such as (rc.models.MLP(64, 10, (16,)),)"
        require(recipes, "Growth.forms", self.forms, accepted)
        for form in self.forms:
            accepted = "must not be divided by its width: the next form would say something else; set scaled=False"
            require(unscaled(form) == form, "Growth.forms", form, accepted)
        accepted = "must say when, such as rc.growth.AtRounds((10,)) or rc.growth.NewClasses()"
        require(isinstance(self.when, When), "Growth.when", self.when, accepted)
        accepted = f"must ask for at most as many steps as there are forms to grow out of: {len(self.forms)}"
        require((self.when.most_steps or 0) <= len(self.forms), "Growth.when", self.when, accepted)
        require(self.probation >= 0, "Growth.probation", self.probation, "must be >= 0 evaluations")
        require(self.tolerance >= 0, "Growth.tolerance", self.tolerance, "must be >= 0")
        few = 1 <= self.patience <= (self.probation or self.patience)
        require(few, "Growth.patience", self.patience, f"must be >= 1, and at most probation={self.probation}")
