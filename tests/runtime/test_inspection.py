"""What a host could get wrong, each thing beside the result that is right."""

import math
from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import Mean, Node, Product, Stack, WeightedSum, add_up
from raycollab.models import MLP
from raycollab.params import Exchange
from raycollab.runtime.inspection import inspected
from raycollab.runtime.layout import Block
from raycollab.runtime.session import build_model
from raycollab.runtime.sharing import ShareResult
from raycollab.spec import BUFFERS, DELTA
from raycollab.tasks import Classification
from raycollab.types import AgentReport, Assignment, Failure, Round, Update

SPEC = build_model(Classification(MLP(3, 2, ()), 2), Exchange(), 0).spec
ROUND = Round(3, 0, 2, {}, attempt=1)
PRESENT = [0, 4, 5, 6]
BLOCK = Block(4, (Assignment("a", 2), Assignment("b", 2)))
REPORTS = (AgentReport("a", examples=2, loss=0.5, weight=2.0, norm=1.0), AgentReport("b", weight=1.0))


def update(name="a", value=1.0, size=SPEC.num_params, dtype=torch.float32):
    vectors = {DELTA: torch.full((size,), value, dtype=dtype), BUFFERS: torch.zeros(SPEC.num_buffers)}
    return Update(name, 2.0, vectors, {"loss": 0.5})


def summed(*updates, rule=Mean()):  # noqa: B008 - frozen
    return add_up(rule.collect(each, ROUND) for each in updates)


GOOD = ShareResult((Node(0, 4, summed(update("a"), update("b"))),), REPORTS, (), (3, 1, 2))


def checked(result, share=(BLOCK,)):
    return inspected(result, share, PRESENT, ROUND, SPEC)


def with_sum(partial, level=0, index=4):
    return replace(GOOD, nodes=(Node(level, index, partial),))


@pytest.mark.parametrize(
    "partial",
    [
        GOOD.nodes[0].partial,
        summed(update("a"), update("b"), rule=Mean(exact=True)),
        Stack(2, (update("a"), update("b"))),
        Product(2, {"x": GOOD.nodes[0].partial}),
    ],
    ids=lambda partial: type(partial).__name__,
)
def test_what_is_right_comes_through_as_it_is(partial):
    good = with_sum(partial)
    assert checked(good) is good
    lost = replace(with_sum(None), reports=(), failures=(Failure("a", "X", "x"), Failure("b", "X", "x")))
    assert checked(lost) is lost


def with_delta(vector):
    return with_weights(vector=vector)


def with_weights(**changes):
    partial = WeightedSum(2, 3.0)
    partial.vectors = {DELTA: {None: replace(GOOD.nodes[0].partial.vectors[DELTA][None], **changes)}}
    return with_sum(partial)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("nonsense", "is a str; it is refused"),
        (with_sum(None, index=5), r"sums blocks \[5\], and \[4\] were asked for"),
        (with_sum(None, level=1, index=2), r"sums blocks \[4, 5\], and \[4\] were asked for"),
        (replace(GOOD, nodes=GOOD.nodes * 2), r"sums blocks \[4, 4\]"),
        (replace(GOOD, nodes=()), r"sums blocks \[\]"),
        (replace(GOOD, made_in=(2, 1, 2)), r"is stale: .*\(2, 1, 2\), and \(3, 1, 2\) was asked for"),
        (replace(GOOD, made_in=(3, 0, 2)), "is stale"),
        (replace(GOOD, made_in=(3, 1, 1)), "is stale"),
        (replace(GOOD, reports=REPORTS[:1]), r"is of \['a'\], and each of \['a', 'b'\] was asked for once"),
        (replace(GOOD, reports=(*REPORTS, REPORTS[0])), r"is of \['a', 'a', 'b'\]"),
        (replace(GOOD, reports=(REPORTS[0], AgentReport("z"))), r"is of \['a', 'z'\]"),
        (with_sum(summed(update())), "sums 1 updates and reports 2"),
        (with_sum(None), "sums 0 updates and reports 2"),
        (
            replace(GOOD, reports=(replace(REPORTS[0], loss="low"), REPORTS[1])),
            "agent 'a' reports loss='low', which is no",
        ),
        (replace(GOOD, reports=(replace(REPORTS[0], examples=None), REPORTS[1])), "reports examples=None"),
        (replace(GOOD, reports=(replace(REPORTS[0], seconds=True), REPORTS[1])), "reports seconds=True"),
        (replace(GOOD, reports=(replace(REPORTS[0], weight=math.nan), REPORTS[1])), "has weight nan, not a finite"),
        (replace(GOOD, reports=(replace(REPORTS[0], weight=-1.0), REPORTS[1])), "has weight -1.0"),
        (with_weights(weight=math.nan), "'delta' has weight nan times 2.0, not finite numbers"),
        (with_weights(weight=-1.0), "'delta' has weight -1.0"),
        (with_weights(times=math.inf), "times inf, not finite numbers >= 0"),
        (with_weights(times=-1.0), "times -1.0, not finite numbers >= 0"),
        (with_weights(times=1e300), r"'delta' has norm .*e\+\d+, with which a sum would overflow"),
        (with_weights(weight=1e-300), r"'delta' has norm .*e\+\d+, with which a sum would overflow"),
        (replace(GOOD, nodes=("nonsense",)), "holds what is no sum of blocks"),
        (replace(GOOD, nodes=(Node(-1, 4, None),)), "holds what is no sum of blocks"),
        (with_delta(torch.ones(7)), r"'delta' is float32 \[7\], expected float32 \[8\]"),
        (with_delta(torch.ones(8, dtype=torch.float16)), r"'delta' is float16 \[8\]"),
        (with_delta(torch.ones(2, 4)), r"'delta' is float32 \[2, 4\]"),
        (with_delta(torch.full((8,), math.nan)), "'delta' holds NaN or infinite elements"),
        (with_delta(torch.full((8,), -math.inf)), "'delta' holds NaN or infinite elements"),
        (with_delta(torch.full((8,), 1e38)), r"'delta' has norm 5.66e\+38, with which a sum would overflow"),
        (with_sum(Stack(2, (update("a"), update("b", math.nan)))), "'delta' holds NaN"),
        (with_sum(Product(2, {"x": with_delta(torch.full((7,), math.nan)).nodes[0].partial})), "'delta' holds NaN"),
        (with_sum(Product(2, {"x": with_delta(torch.ones(2, 4)).nodes[0].partial})), r"is float32 \[2, 4\]"),
    ],
)
def test_what_cannot_be_right_is_a_failure_of_all_its_agents(result, message):
    found = checked(result)
    assert [node.partial for node in found.nodes] == [None]
    assert found.reports == ()
    assert [(failure.agent, failure.error) for failure in found.failures] == [
        ("a", "UpdateError"),
        ("b", "UpdateError"),
    ]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found.failures[0].message)
    assert found.failures[0].message.startswith("round 3: the result of block 4")


def test_one_bad_sum_costs_its_own_agents_alone():
    """Of a share with two sums, the other one stays."""
    other = Block(5, (Assignment("c", 2), Assignment("d", 2)))
    bad = replace(with_delta(torch.full((8,), math.nan)).nodes[0], index=5)
    failed = Failure("d", "X", "x")
    bad.partial.count = 1
    share = replace(GOOD, nodes=(*GOOD.nodes, bad), reports=(*REPORTS, AgentReport("c")), failures=(failed,))
    found = checked(share, (BLOCK, other))
    assert found.nodes[0] is GOOD.nodes[0]
    assert found.nodes[1] == Node(0, 5, None)
    assert [report.agent for report in found.reports] == ["a", "b"]
    assert [failure.agent for failure in found.failures] == ["d", "c"]
    assert found.failures[1].message.startswith("round 3: the result of block 4 to 5: 'delta' holds NaN")


@pytest.mark.parametrize(("form", "known"), [(0, "form 0 alone"), (1, "forms 0 to 1, of which each lies in the next")])
def test_an_update_of_a_form_that_the_driver_does_not_know_is_refused(form, known):
    """Older forms are parts of the present one, and are merged."""
    round = replace(ROUND, form=form)

    def sent(*forms):
        reports = tuple(replace(report, form=each) for report, each in zip(REPORTS, forms, strict=True))
        return inspected(replace(GOOD, reports=reports), (BLOCK,), PRESENT, round, SPEC)

    assert not sent(0, form).failures
    for strange in (form + 1, -1):
        found = sent(0, strange)
        assert [failure.agent for failure in found.failures] == ["a", "b"]
        assert found.nodes[0].partial is None
        message = f"agent 'b' reports form {strange} of the model, and the driver knows {known}; it is refused"
        assert message in found.failures[0].message
