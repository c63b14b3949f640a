import copy
import inspect
import math
import pickle
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import pytest

from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, Target
from raycollab.errors import ConfigError
from raycollab.settings import Settings


@pytest.mark.parametrize(
    ("text", "below", "at", "above"),
    [
        ("accuracy >= 0.97", False, True, True),
        ("accuracy>0.97", False, False, True),
        (" accuracy <= 97e-2 ", True, True, False),
        ("accuracy < .97", True, False, False),
    ],
)
def test_target(text, below, at, above):
    target = Target.parse(text)
    assert [target.reached({"accuracy": value}) for value in (0.96, 0.97, 0.98)] == [below, at, above]
    assert not target.reached({"accuracy": math.nan})


@pytest.mark.parametrize(
    "text", ["", "accuracy", "accuracy = 1", "accuracy >= much", ">= 1", "a >= 1 or b >= 2", "a >= -"]
)
def test_target_refuses(text):
    with pytest.raises(ConfigError, match="target="):
        Target.parse(text)
    with pytest.raises(ConfigError, match="target="):
        RunConfig(target=text)


def test_target_of_an_unknown_metric_names_the_known_ones():
    with pytest.raises(ConfigError, match="'acuracy' is not reported by this task; it reports: accuracy, loss"):
        Target.parse("acuracy >= 1").reached({"loss": 1.0, "accuracy": 0.5})


def test_defaults_and_edges_are_accepted():
    RunConfig(name="", num_rounds=1, agents_per_round=1, patience=1, eval_every=1, seed=0, num_blocks=1)
    RunConfig(name="a_b-c.1", target="loss < 0.1")
    ScalingConfig(agents_per_host=1, cpus_per_host=0, gpus_per_host=0.25, gpus_for_driver=1)
    FailureConfig(min_agents=0.5, on_agent_failure="stop", max_attempts=1, start_timeout_s=0.1, round_timeout_s=0.1)
    CheckpointConfig(every=1, keep=1)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (RunConfig, {"num_rounds": 0}),
        (RunConfig, {"eval_every": 0}),
        (RunConfig, {"agents_per_round": 0}),
        (RunConfig, {"patience": 0}),
        (RunConfig, {"num_blocks": -1}),
        (RunConfig, {"seed": -1}),
        (RunConfig, {"name": "a/b"}),
        (RunConfig, {"name": ".."}),
        (RunConfig, {"name": "a\n"}),
        (ScalingConfig, {"pool": "slurm"}),
        (ScalingConfig, {"agents_per_host": 0}),
        (ScalingConfig, {"cpus_per_host": -1}),
        (ScalingConfig, {"gpus_per_host": 2}),
        (RunConfig, {"num_rounds": 1.5}),
        (RunConfig, {"agents_per_round": 2.5}),
        (ScalingConfig, {"gpus_for_driver": -0.5}),
        (ScalingConfig, {"gpus_per_host": math.nan}),
        (ScalingConfig, {"gpus_per_host": math.inf}),
        (ScalingConfig, {"threads_per_host": 0}),
        (FailureConfig, {"min_agents": 0}),
        (FailureConfig, {"min_agents": 1.5}),
        (FailureConfig, {"min_agents": math.nan}),
        (FailureConfig, {"min_agents": math.inf}),
        (FailureConfig, {"on_agent_failure": "ignore"}),
        (FailureConfig, {"max_attempts": 0}),
        (FailureConfig, {"start_timeout_s": 0}),
        (FailureConfig, {"round_timeout_s": -1}),
        (FailureConfig, {"max_restarts": -1}),
        (FailureConfig, {"restart_backoff_s": -1.0}),
        (FailureConfig, {"quarantine_after": 0}),
        (FailureConfig, {"quarantine_rounds": 0}),
        (FailureConfig, {"max_norm": math.nan}),
        (FailureConfig, {"max_driver_restarts": -1}),
        (FailureConfig, {"stop_grace_s": math.nan}),
        (CheckpointConfig, {"every": 0}),
        (CheckpointConfig, {"every": None}),
        (CheckpointConfig, {"every_s": 0.0}),
        (CheckpointConfig, {"keep": 0}),
    ],
)
def test_refuses_and_says_what_was_set(kind, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError) as caught:
        kind(**settings)
    assert str(caught.value).startswith(f"{kind.__name__}.{name}={value!r}: ")


@pytest.mark.parametrize(
    ("min_agents", "selected", "needed"),
    [
        (1, 8, 1),
        (4, 8, 4),
        (0.5, 8, 4),
        (0.5, 7, 4),
        (0.5, 1, 1),
        (0.3, 10, 3),
        (0.7, 10, 7),
        (0.01, 8, 1),
        (0.99, 8, 8),
    ],
)
def test_quorum_of_a_share_rounds_up(min_agents, selected, needed):
    assert FailureConfig(min_agents=min_agents).quorum(selected) == needed


@dataclass(frozen=True)
class Dials(Settings):
    """One field of each type that is looked at, and one that is not."""

    rate: float
    count: int | None = 1
    flag: bool = False
    name: str = ""
    widths: tuple[int, ...] = ()
    other: object = None

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": "0.1"}, "Dials.rate='0.1': must be a number"),
        ({"rate": None}, "Dials.rate=None: must be a number"),
        ({"rate": 1, "count": "3"}, "Dials.count='3': must be a whole number or None"),
        ({"rate": 1, "flag": "false"}, "Dials.flag='false': must be True or False"),
        ({"rate": 1, "name": 7}, "Dials.name=7: must be text"),
        ({"rate": 1, "name": PurePosixPath("a/b")}, "Dials.name=PurePosixPath('a/b'): must be text; write str(path)"),
        ({"rate": 1, "widths": 128}, "Dials.widths=128: must be a list or tuple"),
        ({"rate": 1, "widths": "128"}, "Dials.widths='128': must be a list or tuple"),
    ],
)
def test_settings_of_another_type_are_refused_by_name(settings, message):
    with pytest.raises(ConfigError) as caught:
        Dials(**settings)
    assert str(caught.value) == message
    with pytest.raises(ConfigError, match="must be a number"):
        Dials("0.1")


def test_settings_of_the_right_type_are_what_they_were():
    """Also numbers of numpy; and what makes a value without arguments, or with wrong ones, is not in the way."""
    dials = Dials(np.float32(0.5), np.int64(3), True, "a", [1, 2], other="text")
    assert pickle.loads(pickle.dumps(dials)) == copy.deepcopy(dials) == replace(dials) == dials
    assert list(inspect.signature(Dials).parameters)[:2] == ["rate", "count"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'rates'"):
        Dials(0.1, rates=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'rate'"):
        Dials()
