"""What a host sends is looked at again where it arrives: a host could be wrong, and one bad number spoils a sum."""

import math
from collections.abc import Iterator
from dataclasses import fields

import torch
from torch import Tensor

from raycollab.aggregation import ExactSum, Partial, Product, Stack, WeightedSum
from raycollab.errors import UpdateError
from raycollab.norms import l2_norm
from raycollab.runtime.host import Block, BlockResult
from raycollab.spec import BUFFERS, ParamSpec, Segments
from raycollab.types import AgentReport, Failure, Round

_LARGEST_NORM = 1e37  # of a sum: a few more still add up in float32
_DTYPES = (torch.float32, torch.float64, torch.int64)


def inspected(result: object, block: Block, round: Round, spec: ParamSpec) -> BlockResult:
    """The result of a block as it came, or as a failure of all its agents if something in it cannot be right.

    Args:
        result: What the host sent.
        block: What it was asked for.
        round: In which round.
        spec: What stands where in the vectors.
    """
    try:
        return _checked(result, block, round, spec)
    except UpdateError as error:
        failures = tuple(Failure(a.agent, UpdateError.__name__, str(error)) for a in block.assignments)
        return BlockResult(block.index, None, (), failures)


def _checked(result: object, block: Block, round: Round, spec: ParamSpec) -> BlockResult:
    who = f"round {round.index}: the result of block {block.index}"
    if not isinstance(result, BlockResult):
        raise UpdateError(f"{who} is a {type(result).__name__}; it is refused")
    asked = (block.index, (round.index, round.attempt, round.base_version))
    if (result.index, result.made_in) != asked:
        raise UpdateError(
            f"{who} is stale: it is of block {result.index}, made in (round, attempt, version) {result.made_in}, and "
            f"{asked[1]} was asked for; it is refused"
        )
    wanted = sorted(assignment.agent for assignment in block.assignments)
    named = sorted([report.agent for report in result.reports] + [failure.agent for failure in result.failures])
    if named != wanted:
        raise UpdateError(f"{who} is of {named}, and each of {wanted} was asked for once; it is refused")
    for report in result.reports:
        _check_report(report, who)
    count = 0 if result.partial is None else result.partial.count
    if count != len(result.reports):
        raise UpdateError(f"{who} sums {count} updates and reports {len(result.reports)}; it is refused")
    for name, vector, segments in () if result.partial is None else _vectors(result.partial):
        _check_vector(name, vector, segments, spec, who)
    return result


def _check_report(report: AgentReport, who: str) -> None:
    for field in fields(report):
        value = getattr(report, field.name)
        if field.type in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UpdateError(f"{who}: agent {report.agent!r} reports {field.name}={value!r}, which is no number")
    if not (math.isfinite(report.weight) and report.weight >= 0):
        raise UpdateError(f"{who}: agent {report.agent!r} has weight {report.weight!r}, not a finite number >= 0")


def _check_vector(name: str, vector: Tensor, segments: Segments | None, spec: ParamSpec, who: str) -> None:
    whole = spec.num_buffers if name == BUFFERS else spec.num_params
    length = whole if segments is None else segments.count
    if vector.dtype not in _DTYPES or vector.shape != (length,):
        form = f"{str(vector.dtype).removeprefix('torch.')} {list(vector.shape)}"
        raise UpdateError(f"{who}: {name!r} is {form}, expected float32 [{length}]; it is refused")
    norm = 0.0 if vector.dtype == torch.int64 else l2_norm(vector)
    if not math.isfinite(norm):
        raise UpdateError(f"{who}: {name!r} holds NaN or infinite elements; it is kept out of the sum")
    if norm > _LARGEST_NORM:
        raise UpdateError(f"{who}: {name!r} has norm {norm:.3g}, with which a sum would overflow; it is kept out of it")


def _vectors(partial: Partial) -> Iterator[tuple[str, Tensor, Segments | None]]:
    """The vectors of a partial that are known by name; of other kinds of partials only their count is looked at."""
    if isinstance(partial, WeightedSum | ExactSum):
        for name, sums in partial.vectors.items():
            for segments, held in sums.items():
                yield name, held.vector, segments
    elif isinstance(partial, Stack):
        for update in partial.updates:
            for name, vector in update.vectors.items():
                yield name, vector, update.segments(name)
    elif isinstance(partial, Product):
        for part in partial.parts.values():
            for name, vector, segments in _vectors(part):  # of a group of parameters: only its rule knows how many
                yield name, vector, segments or Segments.all(vector.numel())
