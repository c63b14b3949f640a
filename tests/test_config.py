import math

import pytest

from raycollab.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, Target
from raycollab.errors import ConfigError


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
        (CheckpointConfig, {"every": 0}),
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
