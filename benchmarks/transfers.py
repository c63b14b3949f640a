"""Whether what agents learned leaves a GPU while it takes the next agent's steps: the timeline of one host's round.

    python -m benchmarks.transfers --rule Mean --out timeline.json

W3's agents, 100 M parameters each, one after another on one host, a share each, and --steps each: first the host waits
until a share is in the store before it begins the next, then it sends beside that, as hosts do that have a GPU: from
the device to pinned memory to Ray's object store, at most two shares at a time. Prints one JSON line for each and draws
their lanes; --out keeps the second one's spans for chrome://tracing or Perfetto, with every kernel and copy.
`--device cpu --tiny` is to see that it works: there is no copy then, and little to overlap.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

import raycollab as rc
from benchmarks.systems.ours import made_of
from benchmarks.workloads import WORKLOADS
from raycollab.offer import Offer
from raycollab.runtime.layout import Block
from raycollab.runtime.packed_host import PackedHost
from raycollab.runtime.session import build_model
from raycollab.runtime.wire import pack_vectors
from raycollab.spec import BUFFERS, PARAMS
from raycollab.types import AgentCard, Assignment, Round

Span = tuple[float, float]  # begin and end, in seconds
RULES = {"Mean": rc.Mean(), "Median": rc.Median()}
STEPS, SENDING, KERNELS, COPIES = "steps", "sending", "kernels", "copies"
_ROUND = "round"  # in the profile
_TIMEOUT_S = 600.0
_WIDTH = 100  # characters of a lane


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", choices=sorted(RULES), default="Mean")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=300, help="of an agent; enough to last about as long as sending")
    parser.add_argument("--tiny", action="store_true", help="a small net")
    parser.add_argument("--out", type=Path, help="a file for the second one's spans")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _cluster():
        host = Prepared(arguments.rule, arguments.device, folder, steps=arguments.steps, tiny=arguments.tiny)
        for apart in (False, True):
            host.round(apart)  # memory is found, kernels are chosen
            lanes = host.round(apart)
            print(json.dumps(host.described(lanes, apart)))
            print(drawn(lanes.spans))
            if apart and arguments.out is not None:
                lanes.keep(arguments.out)


@contextmanager
def _cluster() -> Any:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


@dataclass
class Lanes:
    """What was done when, by lane, in seconds since the round began."""

    spans: dict[str, list[Span]] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    @contextmanager
    def on(self, lane: str) -> Any:
        """Note how long something takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spans.setdefault(lane, []).append((start - self.began, time.perf_counter() - self.began))

    def add_device(self, events: Iterable[Any]) -> None:
        """The kernels, and the copies into pinned memory, of a profile on whose clock this round is marked."""
        events = list(events)
        first = next(event.time_range.start for event in events if event.name == _ROUND)
        for event in (each for each in events if each.device_type == DeviceType.CUDA and each.name != _ROUND):
            moved = event.name.startswith(("Memcpy", "Memset"))
            if not moved or ("DtoH" in event.name and "Pinned" in event.name):
                span = (event.time_range.start - first) / 1e6, (event.time_range.end - first) / 1e6
                self.spans.setdefault(COPIES if moved else KERNELS, []).append(span)

    def keep(self, path: Path) -> None:
        """Write the spans in Chrome's format."""
        events = [
            {"name": lane, "ph": "X", "pid": 0, "tid": tid, "ts": 1e6 * start, "dur": 1e6 * (end - start)}
            for tid, (lane, spans) in enumerate(self.spans.items())
            for start, end in spans
        ]
        path.write_text(json.dumps({"traceEvents": events}))


class Prepared:
    """A host with its agents open, and a round for them.

    Args:
        rule: Name of a rule.
        device: Where agents compute: "cpu" or "cuda".
        folder: Where a run would write its files.
        steps: Of an agent.
        tiny: With a small net.
    """

    def __init__(self, rule: str, device: str, folder: str, *, steps: int, tiny: bool):
        workload = WORKLOADS["W3"].tiny() if tiny else WORKLOADS["W3"]
        made = made_of(workload, tiny, "local", 1, folder)
        learner = replace(made.agents.learner, steps=steps)
        made = replace(made, chain=(RULES[rule],), agents=replace(made.agents, learner=learner)).resolved()
        model = build_model(made.task, made.exchange, made.run.seed)
        offer = Offer(made.task.fingerprint(model.spec), model.spec)
        where = "cuda:0" if device == "cuda" else device
        self.device, self.rule, self.size = device, rule, model.spec.num_params
        self._host = PackedHost(made.session(), made.members(), where)
        cards = self._host.open(offer)
        self._names = [card.agent for card in cards if isinstance(card, AgentCard)]
        if len(self._names) < len(cards):
            raise SystemExit(f"agents could not be opened: {cards}")
        vectors = {PARAMS: model.read(), BUFFERS: model.read_buffers()}
        self._sent = pack_vectors(Round(1, 0, 0, vectors), None)
        self._told = Round(1, 0, 0, {}, fingerprint=offer.fingerprint.digest())

    def round(self, apart: bool) -> Lanes:
        """Update every agent and put what they send into the store, in another thread if it is apart."""
        shares = [(Block(at, (Assignment(name, 0, 0),)),) for at, name in enumerate(self._names)]
        present, told = list(range(len(shares))), self._told
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device == "cuda" else [])]
        with profile(activities=kinds) as profiled, ThreadPoolExecutor(1) as sender, record_function(_ROUND):
            lanes, sent = Lanes(), []

            def send(ticket: str) -> Any:
                with lanes.on(SENDING):
                    return ray.put(self._host.send(ticket, 0, _TIMEOUT_S))

            for at, share in enumerate(shares):
                with lanes.on(STEPS):
                    self._host.begin(str(at), self._sent, told, share, present)
                sent.append(sender.submit(send, str(at)))
                if not apart:
                    sent[-1].result()
                elif at:
                    sent[-2].result()  # two shares at a time
            kept = [each.result() for each in sent]
            lanes.seconds = time.perf_counter() - lanes.began
        del kept
        lanes.add_device(profiled.events() or ())
        return lanes

    def described(self, lanes: Lanes, apart: bool) -> dict[str, Any]:
        """A line of figures: `overlap` is the share of sending, and of copies, that something else was done beside."""
        spans = lanes.spans
        return {
            "rule": self.rule,
            "gpu": torch.cuda.get_device_name() if self.device == "cuda" else "none",
            "agents": len(self._names),
            "parameters": self.size,
            "apart": apart,
            "seconds": round(lanes.seconds, 4),
            "seconds_of_sending": round(_length(spans[SENDING]), 4),
            "overlap_of_sending": overlap(spans[SENDING], spans[STEPS]),
            "seconds_of_copies": round(_length(spans.get(COPIES, [])), 4),
            "overlap_of_copies": overlap(spans.get(COPIES, []), spans.get(KERNELS, [])),
        }


def overlap(spans: Sequence[Span], others: Sequence[Span]) -> float | None:
    """The share of the spans' time during which one of the others was on; None of no time."""
    whole, beside = _merged(spans), _merged(others)
    both = sum(max(0.0, min(end, last) - max(start, first)) for start, end in whole for first, last in beside)
    length = _length(whole)
    return round(both / length, 3) if length else None


def drawn(spans: dict[str, list[Span]]) -> str:
    """A line for each lane, from the round's begin to its end."""
    last = max((end for lane in spans.values() for _, end in lane), default=0.0)
    rows = []
    for lane, held in spans.items():
        row = [" "] * _WIDTH
        for start, end in held:
            first = min(_WIDTH - 1, int(_WIDTH * start / last))
            stop = max(first + 1, round(_WIDTH * end / last))
            row[first:stop] = "#" * (stop - first)
        rows.append(f"{lane:>8} |{''.join(row)}|")
    return "\n".join(rows)


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _length(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in _merged(spans))


if __name__ == "__main__":
    main()
