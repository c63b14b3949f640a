"""A module that learns by gradients from elsewhere: a party's own part of the net."""

import torch
from torch import Tensor, nn

from raycollab.determinism import seeded
from raycollab.errors import ModelError, UpdateError
from raycollab.optimizers import memory_of, remember
from raycollab.tree import Tree
from raycollab.vertical.party import Party

Address = tuple[int, int]  # round and batch


class Learning:
    """A module with its optimizer, whose state is a tree.

    Args:
        party: Says which optimizer.
        module: What learns.
        device: Where.
    Raises: ModelError if nothing in it learns.
    """

    def __init__(self, party: Party, module: nn.Module, device: str):
        self.module = module.to(device)
        trainable = [p for p in self.module.parameters() if p.requires_grad]
        if not trainable:
            raise ModelError(f"party {party.name!r}: nothing in {type(module).__name__} learns: requires_grad is False")
        self.optimizer = party.optimizer_of(trainable)

    def state(self) -> Tree:
        """All that it has learned: copies."""
        held = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
        return {"module": held, "optimizer": [_copied(each) for each in memory_of(self.optimizer)]}

    def load(self, state: Tree) -> None:
        """Go on from what `state` gave."""
        self.module.load_state_dict(state["module"])
        if state["optimizer"]:
            remember(self.optimizer, state["optimizer"])


class Bottom(Learning):
    """A party's part: what it makes of its columns leaves, and the gradient of that comes back.

    Args:
        party: Has a net.
        device: Where it computes.
        seed: Of its first weights.
    """

    def __init__(self, party: Party, device: str, seed: int):
        if party.net is None:
            raise ModelError(f"party {party.name!r} has no net")
        with seeded(seed):
            module = party.net.build()
        super().__init__(party, module, device)
        self._sent: tuple[Address, Tensor] | None = None

    def forward(self, rows: Tensor, address: Address, seed: int) -> Tensor:
        """Activations of rows in training [b, ...], to which a gradient is to come."""
        self.module.train()
        with seeded(seed, rows.device.type):
            activations: Tensor = self.module(rows)
        self._sent = address, activations
        return activations.detach()

    def backward(self, address: Address, gradient: Tensor) -> None:
        """Take a step by the gradient of what was sent last.

        Raises: UpdateError for the gradient of another batch, of another shape, or one that is not finite.
        """
        sent, self._sent = self._sent, None
        if sent is None or sent[0] != address:
            raise UpdateError(f"a gradient of round {address[0]}, batch {address[1]} came, and another is waited for")
        check_values(gradient, tuple(sent[1].shape), "the gradient that came back")
        self.optimizer.zero_grad()
        sent[1].backward(gradient)
        self.optimizer.step()

    def look(self, rows: Tensor) -> Tensor:
        """Activations of rows in evaluation [b, ...]."""
        self.module.eval()
        with torch.no_grad():
            return self.module(rows)  # type: ignore[no-any-return]


def check_values(values: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Raise UpdateError unless these are finite floats of a shape."""
    if values.dtype != torch.float32 or tuple(values.shape) != shape:
        kind = str(values.dtype).removeprefix("torch.")
        raise UpdateError(f"{what} is {kind} {list(values.shape)}, and float32 {list(shape)} was expected")
    if not bool(torch.isfinite(values).all()):
        raise UpdateError(f"{what} holds NaN or infinity: lower the learning rates (Party.args)")


def _copied(memory: dict[str, object]) -> dict[str, object]:
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in memory.items()}
