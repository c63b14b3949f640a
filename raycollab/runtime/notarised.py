"""What a host sends, without the updates that their parties did not sign."""

from collections.abc import Sequence

from raycollab.aggregation import Node, Stack
from raycollab.ledger import Notary
from raycollab.runtime.inspection import without_wrong_sums
from raycollab.runtime.sharing import Share, ShareResult
from raycollab.types import AgentReport, Round


def notarised(
    result: ShareResult, share: Share, present: Sequence[int], round: Round, notary: Notary | None, *, as_sent: bool
) -> ShareResult:
    """The result without sums in which somebody's update is not signed as it must be.

    A sum cannot be taken apart: who is in it with a bad signature costs all others in it the round. Where updates
    arrive one by one, as for rules that compare them, each is held against what was signed.

    Args:
        result: What a host sent, inspected.
        share: The blocks that it was asked for.
        present: The numbers of all blocks of the round.
        round: Which round.
        notary: Checks receipts; None where nobody signs.
        as_sent: Whether vectors arrive bit for bit as agents sent them.
    """
    if notary is None:
        return result

    def check(node: Node, reports: Sequence[AgentReport]) -> None:
        for report in reports:
            notary.check(report, round)
        if as_sent and isinstance(node.partial, Stack):
            by_agent = {report.agent: report for report in reports}
            for update in node.partial.updates:
                notary.check_content(update, by_agent[update.agent], round)

    return without_wrong_sums(result, share, present, check)
