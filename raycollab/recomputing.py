"""A committed round computed again from what its parties sent."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from raycollab.aggregation import Mean, Node, add_up, total_of
from raycollab.checkpoint import RunFolder, load_state
from raycollab.common import first_vectors
from raycollab.determinism import fixed_threads
from raycollab.digests import digest_of
from raycollab.errors import RaycollabError, UpdateError
from raycollab.evaluation import merged
from raycollab.experiment import Experiment
from raycollab.ledger import Finding, update_of
from raycollab.runtime.session import build_model
from raycollab.spec import PARAMS
from raycollab.types import Assignment, Round, Update


class Recomputing:
    """Computes rounds of a run again.

    Args:
        experiment: What was run.
        folder: Where it is kept.
        rounds: The ledger's record of each round.
    """

    def __init__(self, experiment: Experiment, folder: RunFolder, rounds: Mapping[int, Mapping[str, Any]]):
        self._experiment = experiment.resolved()
        self._folder = folder
        self._rounds = rounds

    def reason_against(self) -> str:
        """Why no round can be computed again; empty if some can."""
        experiment = self._experiment
        if not experiment.checkpoint.updates:
            return "updates were not kept: set CheckpointConfig.updates=True"
        if not isinstance(experiment.steps().aggregator, Mean):
            return f"the rule is {experiment.steps().aggregator!r}, and only a Mean is computed again"
        if experiment.upload is not None:
            return f"{experiment.upload!r} changes updates on their way"
        return "" if self.possible() else "no two neighbouring checkpoints are there: set CheckpointConfig.keep >= 2"

    def possible(self) -> list[int]:
        """The rounds of which the checkpoint is there, and that of the round before."""
        kept = [index for index in self._folder.checkpoints() if index in self._rounds]
        return [index for index in kept if index == 1 or index - 1 in kept]

    def check(self, index: int) -> list[Finding]:
        """What is wrong with a round: nothing, if the model comes out bit for bit."""
        place = f"round {index}"
        try:
            updates, findings = self._updates(index)
            if findings:
                return findings
            with fixed_threads(self._experiment.scaling.threads_per_host):
                found = self._model(index, updates)
        except RaycollabError as error:
            return [Finding(place, "", f"it cannot be computed again: {error}")]
        if found == self._rounds[index]["model"]:
            return []
        return [Finding(place, "model", "what its parties sent makes another model than the one that was committed")]

    def _updates(self, index: int) -> tuple[list[Update], list[Finding]]:
        """What each party sent, held against what it signed."""
        updates, findings = [], []
        for agent, entry in self._rounds[index]["agents"].items():
            place = f"checkpoint {index}, agent {agent!r}"
            kept = load_state(self._folder.agents_of(index), agent)
            sent = kept["state"].get("sent") if kept and kept["round"] == index else None
            if sent is None or not sent["whole"] or sent["base_version"] != index - 1:
                what = "is not there" if sent is None else "is a part of the model" if not sent["whole"] else "is stale"
                findings.append(Finding(place, "sent", f"its update {what}, so the round is not computed again"))
            elif digest_of(sent["vectors"]) != entry["sent"]["sha256"]:
                findings.append(Finding(place, "sent", "it is not what the ledger says was sent"))
            else:
                updates.append(update_of(agent, sent))
        return updates, findings

    def _model(self, index: int, updates: Sequence[Update]) -> str:
        """Digest of the vectors that these updates make."""
        plan, run = self._experiment.plan(), self._experiment.run
        flat = build_model(plan.task, plan.exchange, run.seed, start=run.start)
        chain = plan.chain.bind(flat.spec)
        if index > 1:
            state = self._folder.load_checkpoint(index - 1)
            vectors, chain_state, roster = state["vectors"][str(index - 1)], state["chain"], state["roster"]
        else:
            state = self._folder.load_checkpoint(1)
            vectors = first_vectors(plan, flat)
            chain_state, roster = chain.init(vectors[PARAMS]), state["roster"]
        slots = {name: joined["slot"] for name, joined in roster["joined"].items()}
        layout = replace(self._experiment.layout(num_cpus=1), slots=slots)
        blocks = layout.blocks_of([Assignment(update.agent, index - 1) for update in updates])
        sent, round = {update.agent: update for update in updates}, Round(index, run.seed, index - 1, vectors)
        rule = chain.aggregator
        sums = [add_up(rule.collect(sent[each.agent], round) for each in block.assignments) for block in blocks]
        nodes = [Node(0, block.index, total) for block, total in zip(blocks, sums, strict=True)]
        total = total_of(nodes, [block.index for block in blocks])
        if total is None:
            raise UpdateError(f"round {index}: the ledger has no update of it")
        aggregate, _ = chain.update(total, chain_state, vectors[PARAMS], seed=round.seed_for("chain"))
        return digest_of(merged(vectors, aggregate, index))
