"""Which agents' updates are summed in which block, and on which host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from raycollab.errors import ConfigError
from raycollab.types import Assignment


@dataclass(frozen=True)
class Block:
    """Neighbouring agents whose updates are summed in this order, on one host.

    Args:
        index: Its number among all blocks, from 0.
        assignments: What each of its agents is to do.
        home: The host that runs it.
        pinned: Whether no other host can.
    """

    index: int
    assignments: tuple[Assignment, ...]
    home: int = 0
    pinned: bool = True


@dataclass(frozen=True)
class Layout:
    """Cuts a round into blocks, which depend on the experiment alone, and says which host runs each.

    Agents that live on a host are in fixed blocks of neighbours, and so is whoever is in a block alone. Where agents
    can be run anywhere, larger blocks are cut from whoever takes part.

    Args:
        names: The agents that the experiment begins with, in order.
        num_hosts: Hosts; each runs whole blocks.
        num_blocks: Blocks at most; None makes as many as there are agents, by `agents_at_once`.
        agents_at_once: Agents of a block, where num_blocks is None.
        slots: Numbers of the agents that joined later, from 0: each is a block, and has a host, of its own.
        anywhere: Whether any host can run any of the first agents.
    """

    names: tuple[str, ...]
    num_hosts: int
    num_blocks: int | None = None
    agents_at_once: int = 1
    slots: Mapping[str, int] = field(default_factory=dict)
    anywhere: bool = False

    def __post_init__(self) -> None:
        if self.num_hosts > (blocks := self._count(len(self.names))):
            given = f"num_blocks={blocks}" if self.num_blocks else f"{blocks} blocks of agents that learn at once"
            raise ConfigError(
                f"{self.num_hosts} hosts for {given}: a block is never cut, so there can be no more hosts than blocks; "
                f"raise RunConfig.num_blocks or ScalingConfig.agents_per_host"
            )

    def blocks_of(self, assignments: Sequence[Assignment]) -> list[Block]:
        """The blocks of these assignments, none of them empty, in order."""
        ordered = sorted(assignments, key=lambda assignment: self._places[assignment.agent])
        settled = [assignment for assignment in ordered if assignment.agent not in self.slots]
        count, cut = self._count(len(settled)), self.anywhere and not self._alone
        groups: dict[int, list[Assignment]] = {}
        for place, assignment in enumerate(settled):
            block = place * count // len(settled) if cut else self._block_of(self._places[assignment.agent])
            groups.setdefault(block, []).append(assignment)
        blocks = [
            Block(index, tuple(members), self._home(place, len(groups), index, members), not self.anywhere)
            for place, (index, members) in enumerate(groups.items())
        ]
        joined = [each for each in ordered if each.agent in self.slots]
        return blocks + [Block(self._places[each.agent], (each,), self.host_of(each.agent)) for each in joined]

    def _home(self, place: int, count: int, index: int, members: Sequence[Assignment]) -> int:
        """The host of the block in this place of so many; evenly, where any can run it."""
        if not self.anywhere:
            return self._host_of_block(index)
        return place * self.num_hosts // count if count >= self.num_hosts else self.host_of(members[0].agent)

    def host_of(self, name: str) -> int:
        """The host that an agent lives on; where it could be anywhere, the one that opens it first."""
        if name in self.slots:
            return self.num_hosts + self.slots[name]
        place = self._places[name]
        if self.anywhere:
            return place * self.num_hosts // len(self.names)
        return self._host_of_block(self._block_of(place))

    def with_agent(self, name: str, slot: int) -> "Layout":
        """With an agent that joins, also one that had left."""
        return replace(self, slots={**self.slots, name: slot})

    def by_host(self, names: Sequence[str]) -> dict[int, list[str]]:
        """These agents by host."""
        hosts: dict[int, list[str]] = {}
        for name in sorted(names, key=self._places.__getitem__):
            hosts.setdefault(self.host_of(name), []).append(name)
        return hosts

    def names_of(self, host: int) -> list[str]:
        """The agents of a host."""
        return [name for name in self._places if self.host_of(name) == host]

    @cached_property
    def _places(self) -> dict[str, int]:
        """Every agent's place in order; those that joined come last."""
        joined = sorted(self.slots, key=self.slots.__getitem__)
        places = {name: place for place, name in enumerate(self.names) if name not in self.slots}
        return places | {name: len(self.names) + self.slots[name] for name in joined}

    @property
    def _alone(self) -> bool:
        """Whether each block is a single agent."""
        return self._count(len(self.names)) == len(self.names)

    def _count(self, agents: int) -> int:
        """Blocks that so many agents make."""
        return min(self.num_blocks or -(-agents // max(1, self.agents_at_once)), agents)

    def _block_of(self, place: int) -> int:
        return place * self._count(len(self.names)) // len(self.names)

    def _host_of_block(self, block: int) -> int:
        return block * self.num_hosts // self._count(len(self.names))
