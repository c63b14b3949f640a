"""Questions to agents where their data is, each in a Ray task of its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayTaskError

from raycollab.config import ScalingConfig
from raycollab.errors import ClusterError
from raycollab.runtime.placement import cluster, place, wait_for_resources

Answer = TypeVar("Answer")


def ask_on_ray(
    questions: Sequence[Callable[[], Answer]],
    scaling: ScalingConfig,
    *,
    agents: Sequence[str],
    address: str | None,
    timeout_s: float,
) -> list[Answer]:
    """The answers, in order.

    Args:
        questions: What is called on the nodes; it travels, and so does its answer.
        scaling: What each may take of its node, and whether that is its party's.
        agents: Who each of them is asked of.
        address: Ray cluster to use.
        timeout_s: For all of them.
    Raises: ClusterError if the cluster cannot be reached, or not all answers came in time; ResourceError if a party has
        no node; whatever a question raises.
    """
    with cluster(address):
        cpus = 1.0 if scaling.cpus_per_host is None else scaling.cpus_per_host
        placement = replace(place(scaling, len(agents), agents), cpus_per_host=cpus, gpus_per_host=0.0, spread=False)
        if placement.parties:
            wait_for_resources(replace(placement, cpus_per_host=0.0, gpus_for_driver=0.0), 0.0)
        try:
            refs = [
                ray.remote(max_retries=0, **placement.options(None, agent))(_called).remote(question)
                for agent, question in zip(agents, questions, strict=True)
            ]
            return ray.get(refs, timeout=timeout_s)
        except RayTaskError as error:
            raise (error.cause or error) from None
        except GetTimeoutError as error:
            raise ClusterError(
                f"not all {len(questions)} agents answered within round_timeout_s={timeout_s:g}; look at `ray status`"
            ) from error


def _called(question: Callable[[], Answer]) -> Answer:
    return question()
