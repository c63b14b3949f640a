"""Agents and a driver that talk in this process, any of which can drop out or lie at any message."""

from dataclasses import dataclass, field

import torch

import raycollab as rc
from raycollab.aggregation import Identity, Opened, Talk, add_up
from raycollab.errors import RaycollabError
from raycollab.types import AgentReport, Failure

SIZE = 5000


def updates(count=10, size=SIZE, seed=0):
    """Updates of agents a0, a1, ..., of weights 1, 2, ..., with some scalars."""
    generator = torch.Generator().manual_seed(seed)
    return [
        rc.Update(
            f"a{i}",
            float(i + 1),
            {"delta": torch.randn(size, generator=generator), "buffers": torch.randn(7, generator=generator)},
            {"loss": 0.5 + i, "steps": 3.0},
        )
        for i in range(count)
    ]


@dataclass
class Scene:
    """A round of secure sums.

    Args:
        rule: The settings.
        count: Agents.
        silent: Agents that do not answer a kind of message, by its name; "update" for the update itself.
        change: What is done to an answer before it reaches the driver: (agent, answer) -> answer.
        forge: What is done to a message before it reaches an agent: (agent, message) -> message.
        sign: What signs for each agent, and `keys` what others know of it.
    """

    rule: rc.SecureSum = field(default_factory=lambda: rc.SecureSum(rc.Mean(), min_agents=4))
    count: int = 10
    silent: dict = field(default_factory=dict)
    change: object = lambda agent, answer: answer
    forge: object = lambda agent, message: message
    sign: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)
    index: int = 1

    def __post_init__(self):
        self.names = tuple(f"a{i}" for i in range(self.count))
        self.sides = {name: self.rule.agent_side(self.identity(name)) for name in self.names}
        self.driver = self.rule.driver_side("run")
        self.talk = Talk(self.ask)
        self.refused = {}
        self.seen = []  # every message and answer that the driver had in its hands

    def identity(self, name):
        return Identity(name, "run", self.sign.get(name), self.keys)

    def ask(self, messages):
        answers = {}
        for name, message in messages.items():
            if name in self.silent.get(type(message).__name__, ()):
                answers[name] = Failure(name, "Timeout", "no answer")
                continue
            try:
                answer = self.sides[name].answer(self.forge(name, message))
                answers[name] = self.change(name, answer)
                self.seen += [message, answer]
            except RaycollabError as error:
                self.refused[name] = str(error)
                answers[name] = Failure(name, type(error).__name__, str(error))
        return answers

    def begin(self, attempt=0):
        """The messages before the updates; the agents that are ready for theirs."""
        round = rc.Round(self.index, 0, self.index - 1, {}, agents=self.names, attempt=attempt)
        examples = {name: 10 for name in self.names}
        self.round, self.lost = self.driver.begin(round, examples, self.talk)
        lost = {failure.agent for failure in self.lost}
        return [name for name in self.names if name not in lost]

    def send(self, ready, some=None):
        """Masked updates of those that are ready and do not drop out, and whose they are."""
        some = {update.agent: update for update in some or updates(self.count)}
        there = [name for name in ready if name not in self.silent.get("update", ())]
        sent = [
            self.sides[name].collect(some[name], AgentReport(name, loss=1.0, norm=2.0), self.round) for name in there
        ]
        self.reports = [report for _, report in sent]
        return [partial for partial, _ in sent], there

    def run(self, some=None) -> Opened:
        """The whole round; `there` are those whose updates arrived."""
        partials, self.there = self.send(self.begin(), some)
        return self.driver.finish(add_up(partials), self.there, self.talk)

    def plain(self, there=None, some=None):
        """What the sum of whole numbers is without any mask."""
        there = self.there if there is None else there
        partials = [self.rule.collect(u, self.round) for u in some or updates(self.count) if u.agent in there]
        form, residues = add_up(partials).whole()
        return form.decode(residues)[0]


def same_bits(one, other):
    """Whether two weighted sums are the same in every bit."""
    vectors = one.vectors.keys() == other.vectors.keys() and all(
        torch.equal(held[None].vector, other.vectors[name][None].vector)
        and held[None].weight == other.vectors[name][None].weight
        for name, held in one.vectors.items()
    )
    return vectors and (one.count, one.weight, one.scalars) == (other.count, other.weight, other.scalars)
