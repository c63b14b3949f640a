"""Rows that were left out, as the report counts them."""

from raycollab.report import left_out


def row(agent, rejected=None):
    return {"agent": agent, **({} if rejected is None else {"rejected": rejected})}


def test_the_most_that_was_found_of_each_agent_counts():
    """As a stream finds them, and another process that begins anew; an agent that failed has no number."""
    rows = [row("a", 2), row("b"), row("a", 7), row("c", 1_200), row("a", 3), row("c", None)]
    assert left_out(rows) == "rows that cannot be used, left out: 1,207 (c 1,200, a 7)"


def test_many_agents_share_a_line():
    assert left_out([row(f"p{i}", 1) for i in range(7)]) == (
        "rows that cannot be used, left out: 7 (p0 1, p1 1, p2 1, p3 1, p4 1, and 2 more agents)"
    )


def test_nothing_is_said_where_all_were_used():
    assert left_out([row("a", 0), row("b")]) == left_out([]) == ""
