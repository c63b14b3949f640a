"""A driver in this process, with real agents or with a pool that does as it is told."""

from dataclasses import dataclass

import torch

from raycollab.agent import Agent
from raycollab.aggregation import Mean, Node
from raycollab.checkpoint import RunFolder
from raycollab.config import RunConfig
from raycollab.data import Arrays
from raycollab.driver import Driver
from raycollab.experiment import Experiment
from raycollab.learners import SGD
from raycollab.metrics import Average, Statistics
from raycollab.models import MLP
from raycollab.population import Parties
from raycollab.runtime.layout import Block
from raycollab.runtime.pool import LocalPool, Pool, collect
from raycollab.runtime.sharing import ShareResult
from raycollab.spec import DELTA, PARAMS
from raycollab.tasks import Classification
from raycollab.types import AgentCard, AgentReport, Failure, OwnScores, Update

TASK = Classification(MLP(3, 2, ()), 2)
NAMES = ("a", "b", "c")


def rows(seed, n=16):
    features = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return Arrays({"features": features, "label": (features[:, 0] > 0).long()})


LEARNER, RULE = SGD(lr=0.1), Mean()


def experiment(learners=(LEARNER,) * 3, rule=(RULE,), **settings):
    agents = Parties(tuple(Agent(name, rows(i), learners[i]) for i, name in enumerate(NAMES)))
    settings = {"run": RunConfig(num_rounds=3), **settings}
    return Experiment(settings.pop("task", TASK), agents, tuple(rule), rows(9, 64), **settings).resolved()


def local(path, made):
    """A driver in the folder `path`, opened if it is there; made, not started."""
    folder = RunFolder.open(str(path)) if path.exists() else RunFolder.create(str(path.parent), path.name)
    folder.write_text("experiment.yaml", "")
    pool = LocalPool(made.session(), made.members(), made.layout(num_cpus=1))
    return Driver(made.plan(), pool, folder)


class Scripted(Pool):
    """Each agent adds 1 to every parameter, except where the script says who fails and what is sent."""

    def __init__(self, fails=(), value=1.0, outcomes=None):
        self.fails = [set(names) for names in fails]  # one entry a run, in order
        self.value = value
        self.outcomes = outcomes
        self.rounds = []
        self.assigned = []
        self.log = []

    def open(self, offer):
        return self.outcomes or [AgentCard(name, 1, "", "") for name in NAMES]

    def add(self, agent, offer, slot):
        return AgentCard(agent.name, 1, "", "")

    def run(self, round, assignments, *, enough=None, stop=lambda: False):
        self.rounds.append(round)
        self.assigned.append([assignment.agent for assignment in assignments])
        failing = self.fails.pop(0) if self.fails else set()
        results = []
        for index, name in enumerate(assignment.agent for assignment in assignments):
            if name in failing:
                failure = Failure(name, "OutOfMemoryError", f"no memory for {name}")
                results.append(ShareResult((Node(0, index, None),), (), (failure,), (0, 0, 0)))
                continue
            update = Update(name, 2.0, {DELTA: torch.full_like(round.vectors[PARAMS], self.value)})
            report = AgentReport(name, examples=2, loss=0.5, weight=2.0)
            node = Node(0, index, Mean().collect(update, round))
            results.append(ShareResult((node,), (report,), (), (0, 0, 0)))
        blocks = [Block(index, (assignment,)) for index, assignment in enumerate(assignments)]
        return collect(results, blocks, bytes_up=10, bytes_down=20)

    def ask(self, messages, round):
        return {}

    def validate(self, round, last_rounds):
        self.log.append("asked")
        loss = Statistics.of({"loss": Average("loss", 1.0, 1.0)})

        def wait():
            self.log.append("waited")
            return {name: OwnScores(loss, Statistics.empty()) for name in last_rounds}

        return wait

    def save(self, storage, last_rounds):
        return list

    def restore(self, storage, names):
        pass

    def close(self):
        pass


def scripted(tmp_path, pool, **settings):
    driver = Driver(experiment(**settings).plan(), pool, RunFolder.create(str(tmp_path / "runs")))
    driver.start()
    return driver


@dataclass(frozen=True)
class Scored(Classification):
    """Reports these accuracies, one an evaluation, whatever the model is."""

    scores: tuple[float, ...] = ()

    def evaluate(self, model, batches):
        score = self.scores[min(SEEN[0], len(self.scores) - 1)]
        SEEN[0] += 1
        return Statistics.of({"accuracy": Average("accuracy", score, 1.0)})


SEEN = [0]


def scored(*scores):
    """A task whose evaluations, from now on, report these."""
    SEEN[0] = 0
    return Scored(MLP(3, 2, ()), 2, scores=scores)
