"""What the journal says of a round."""

from typing import Any

from raycollab.types import RoundReport


def journal_row(report: RoundReport) -> dict[str, Any]:
    """A round as plain data: the row of rounds.parquet, with the rows of agents.parquet inside."""
    failed = {failure.agent: failure for failure in report.failures}
    agents = [
        {
            "agent": agent.agent,
            "round": report.index,
            "examples": agent.examples,
            "loss": agent.loss,
            "seconds": agent.seconds,
            "bytes_sent": agent.num_bytes,
            "norm": agent.norm,
            "weight": agent.weight,
            "fresh": agent.fresh,
            "failure": "",
            **{f"val_{name}": value for name, value in report.own_metrics.get(agent.agent, {}).items()},
        }
        for agent in report.agents
    ]
    rows = [{"agent": name, "round": report.index, "failure": f"{f.error}: {f.message}"} for name, f in failed.items()]
    return {
        "round": report.index,
        "agents": len(report.agents),
        "failures": len(report.failures),
        "attempts": report.attempts,
        "train_loss": report.train_loss,
        "seconds": report.seconds,
        "bytes_up": report.bytes_up,
        "bytes_down": report.bytes_down,
        **report.metrics,
        "notes": "; ".join(report.notes),
        "stop_reason": report.stop_reason,
        "agent_rows": agents + rows,
    }
