from dataclasses import replace

import pyarrow.parquet as pq
import torch

import raycollab as rc

from ..contracts.support import digits
from .support import one_round


def test_it_is_kept_out_of_the_sum():
    """The mean of the other two, and a failure that names the agent."""
    done, (a, b, _) = one_round(rc.Attack("nan", num_agents=1))
    torch.testing.assert_close(done.params, (a + b) / 2)
    (failure,) = done.reports[0].failures
    assert (failure.agent, failure.error) == ("agent-2", "UpdateError")
    assert "'delta' holds 4 NaN or infinite of 4 elements" in failure.message


def test_the_table_of_agents_says_so(tmp_path):
    run = {"dir": str(tmp_path), "name": "nan"}
    experiment = digits(num_agents=3, run=run, attack=rc.Attack("nan", num_agents=1))
    rc.run_experiment(replace(experiment, scaling=rc.ScalingConfig(pool="local")))
    rows = pq.read_table(tmp_path / "nan" / "agents.parquet").to_pylist()
    assert {(row["round"], row["agent"]) for row in rows if "NaN" in row["failure"]} == {(1, "agent-2"), (2, "agent-2")}
