"""What a host sends is looked at again where it arrives: a host could be wrong, and one bad number spoils a sum."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from raycollab.aggregation import ExactSum, Node, Partial, Product, Stack, WeightedSum
from raycollab.errors import UpdateError
from raycollab.norms import l2_norm
from raycollab.runtime.layout import Block
from raycollab.runtime.sharing import Share, ShareResult
from raycollab.runtime.slices import Cut
from raycollab.secure import MaskedSum
from raycollab.spec import BUFFERS, ParamSpec, Segments
from raycollab.types import AgentReport, Failure, Round

_LARGEST_NORM = 1e37  # of a sum: a few more still add up in float32
_DTYPES = (torch.float32, torch.float64, torch.int64)


def inspected(result: object, share: Share, present: Sequence[int], round: Round, spec: ParamSpec) -> ShareResult:
    """What came of a share, with a failure in place of whatever in it cannot be right.

    Args:
        result: What the host sent.
        share: The blocks that it was asked for.
        present: The numbers of all blocks of the round.
        round: Which round.
        spec: What stands where in the vectors.
    Returns: The result itself if all of it is right; without the sums that are not, whose agents have failed; or a
        failure of all agents of the share if what the host says of them cannot be right.
    """
    made_in = (round.index, round.attempt, round.base_version)
    try:
        sent = _checked(result, share, present, made_in)
    except UpdateError as error:
        return ShareResult(_nothing_of(share), (), _refused(_agents_of(share), error), made_in)
    who = _who(round.index, share)

    def check(node: Node, reports: Sequence[AgentReport]) -> None:
        _check_sum(node, reports, spec, who)
        _check_forms(reports, round.form, who)
        if isinstance(node.partial, MaskedSum):
            node.partial.check(made_in, spec)

    return without_wrong_sums(sent, share, present, check)


def without_wrong_sums(
    sent: ShareResult, share: Share, present: Sequence[int], check: Callable[[Node, Sequence[AgentReport]], None]
) -> ShareResult:
    """A share's result without the sums that a check raises UpdateError for; all agents in such a sum have failed."""
    agents = {block.index: _agents_of([block]) for block in share}
    reports = {report.agent: report for report in sent.reports}
    for node in sent.nodes:
        members = [name for index in node.blocks(present) for name in agents[index] if name in reports]
        try:
            check(node, [reports[name] for name in members])
        except UpdateError as error:
            sent = replace(
                sent,
                nodes=tuple(replace(each, partial=None) if each is node else each for each in sent.nodes),
                reports=tuple(report for report in sent.reports if report.agent not in members),
                failures=(*sent.failures, *_refused(members, error)),
            )
    return sent


def _checked(result: object, share: Share, present: Sequence[int], made_in: tuple[int, int, int]) -> ShareResult:
    who = _who(made_in[0], share)
    if not isinstance(result, ShareResult):
        raise UpdateError(f"{who} is a {type(result).__name__}; it is refused")
    if result.made_in != made_in:
        raise UpdateError(
            f"{who} is stale: it was made in (round, attempt, version) {result.made_in}, and {made_in} was asked for; "
            f"it is refused"
        )
    if not all(isinstance(node, Node) and 0 <= node.level < 64 for node in result.nodes):
        raise UpdateError(f"{who} holds what is no sum of blocks; it is refused")
    asked = sorted(block.index for block in share)
    summed = sorted(index for node in result.nodes for index in node.blocks(present))
    if summed != asked:
        raise UpdateError(f"{who} sums blocks {summed}, and {asked} were asked for; it is refused")
    wanted = sorted(_agents_of(share))
    named = sorted([report.agent for report in result.reports] + [failure.agent for failure in result.failures])
    if named != wanted:
        raise UpdateError(f"{who} is of {named}, and each of {wanted} was asked for once; it is refused")
    return result


def _check_sum(node: Node, reports: Sequence[AgentReport], spec: ParamSpec, who: str) -> None:
    for report in reports:
        _check_report(report, who)
    count = 0 if node.partial is None else node.partial.count
    if count != len(reports):
        raise UpdateError(f"{who} sums {count} updates and reports {len(reports)}; it is refused")
    if isinstance(node.partial, WeightedSum):
        _check_weights(node.partial, who)
    for name, vector, segments, times in () if node.partial is None else _vectors(node.partial):
        _check_vector(name, vector, segments, times, spec, who)


def _check_weights(partial: WeightedSum, who: str) -> None:
    for name, sums in partial.vectors.items():
        for held in sums.values():
            if not all(math.isfinite(number) and number >= 0 for number in (held.weight, held.times)):
                raise UpdateError(
                    f"{who}: {name!r} has weight {held.weight!r} times {held.times!r}, not finite numbers >= 0; it is "
                    f"kept out of the sum"
                )


def _who(round: int, share: Share) -> str:
    first, last = share[0].index, share[-1].index
    return f"round {round}: the result of block {first}" + (f" to {last}" if last > first else "")


def _agents_of(share: Iterable[Block]) -> list[str]:
    return [assignment.agent for block in share for assignment in block.assignments]


def _nothing_of(share: Share) -> tuple[Node, ...]:
    return tuple(Node(0, block.index, None) for block in share)


def _refused(agents: Iterable[str], error: UpdateError) -> tuple[Failure, ...]:
    return tuple(Failure(agent, UpdateError.__name__, str(error)) for agent in agents)


def _check_report(report: AgentReport, who: str) -> None:
    for field in fields(report):
        value = getattr(report, field.name)
        if field.type in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UpdateError(f"{who}: agent {report.agent!r} reports {field.name}={value!r}, which is no number")
    if not (math.isfinite(report.weight) and report.weight >= 0):
        raise UpdateError(f"{who}: agent {report.agent!r} has weight {report.weight!r}, not a finite number >= 0")


def _check_forms(reports: Sequence[AgentReport], form: int, who: str) -> None:
    for report in reports:
        if not 0 <= report.form <= form:
            known = "form 0 alone" if not form else f"forms 0 to {form}, of which each lies in the next"
            raise UpdateError(
                f"{who}: agent {report.agent!r} reports form {report.form} of the model, and the driver knows {known}; "
                f"it is refused"
            )


def _check_vector(
    name: str, vector: Tensor | Cut, segments: Segments | None, times: float, spec: ParamSpec, who: str
) -> None:
    whole = spec.num_buffers if name == BUFFERS else spec.num_params
    length = whole if segments is None else segments.count
    if vector.dtype not in _DTYPES or vector.shape != (length,):
        form = f"{str(vector.dtype).removeprefix('torch.')} {list(vector.shape)}"
        raise UpdateError(f"{who}: {name!r} is {form}, expected float32 [{length}]; it is refused")
    norm = vector.norm if isinstance(vector, Cut) else 0.0 if vector.dtype == torch.int64 else l2_norm(vector)
    if not math.isfinite(norm):
        raise UpdateError(f"{who}: {name!r} holds NaN or infinite elements; it is kept out of the sum")
    if norm * times > _LARGEST_NORM:
        raise UpdateError(
            f"{who}: {name!r} has norm {norm * times:.3g}, with which a sum would overflow; it is kept out of it"
        )


def _vectors(partial: Partial) -> Iterator[tuple[str, Tensor | Cut, Segments | None, float]]:
    """The vectors of a partial that are known by name, with what they will be multiplied by at most.

    Of other kinds of partials only their count is looked at.
    """
    if isinstance(partial, WeightedSum):
        for name, sums in partial.vectors.items():
            for segments, held in sums.items():
                in_mean = held.times / held.weight if held.weight else 0.0
                yield name, held.vector, segments, max(1.0, held.times, in_mean)
    elif isinstance(partial, ExactSum):
        for name, fixed in partial.vectors.items():
            yield from ((name, each.vector, segments, 1.0) for segments, each in fixed.items())
    elif isinstance(partial, Stack):
        for update in partial.updates:
            yield from ((name, each, update.segments(name), 1.0) for name, each in update.vectors.items())
    elif isinstance(partial, Product):
        for part in partial.parts.values():
            for name, vector, segments, times in _vectors(part):  # of a group: only its rule knows how many parameters
                yield name, vector, segments or Segments.all(vector.shape[0]), times
