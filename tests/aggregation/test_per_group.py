from dataclasses import replace

import pytest
import torch

from raycollab.aggregation import (
    AgnosticFL,
    Dare,
    FedDyn,
    FisherMean,
    Krum,
    Mean,
    Median,
    PerGroup,
    TaskArithmetic,
    add_up,
)
from raycollab.data import IID, Digits
from raycollab.errors import ConfigError, ModelError, UpdateError
from raycollab.experiment import Experiment
from raycollab.experiment_file import parse_experiment, to_yaml
from raycollab.learners import SGD, StartLoss
from raycollab.models import MLP
from raycollab.population import Split
from raycollab.runtime.wire import pack, unpack
from raycollab.spec import Coverage, Entry, ParamSpec, Segments
from raycollab.tasks import ImageClassification
from raycollab.types import Round, Update

SPEC = ParamSpec(
    (
        Entry("enc.weight", (2,), "float32", 0),
        Entry("head.weight", (1, 2), "float32", 2),
        Entry("enc.bias", (1,), "float32", 4),
    ),
    (Entry("enc.mean", (1,), "float32", 0), Entry("head.mean", (1,), "float32", 1)),
)
PARAMS = torch.zeros(5)
ENC, HEAD = [0, 1, 4], [2, 3]
NO_BUFFERS = Segments(2, ())


def of(name, weight, *values, coverage=None, loss=0.0):
    vectors = {"delta": torch.tensor(values)}
    if coverage is None:
        vectors["buffers"] = torch.tensor([values[0], values[2]])
    return Update(name, weight, vectors, {"start_loss": loss}, coverage=coverage)


THREE = [
    of("a", 1.0, 0.0, 1.0, 2.0, 3.0, 4.0),
    of("b", 2.0, 3.0, 3.0, 3.0, 3.0, 3.0),
    of("c", 5.0, 9.0, 9.0, 0.0, 1.0, 9.0),
]


def play(rule, updates, state=None):
    """One round of a bound rule: vectors and the state after it; partials cross the wire."""
    state = rule.init(PARAMS) if state is None else state
    round = Round(1, 0, 0, {"params": PARAMS}, rule.tells(state))
    total = add_up(unpack(pack(rule.collect(update, round))) for update in updates)
    merged, state = rule.update(total, state, PARAMS, seed=0)
    return merged.vectors, state


def merged(rules, *updates):
    return play(PerGroup(rules).bind(SPEC), updates)[0]


def test_each_group_has_its_rule():
    """The median of [0, 3, 9], [1, 3, 9], [4, 3, 9] in enc and of its buffer; the mean by weight in head and its."""
    found = merged({"enc.*": Median(), "head.*": Mean()}, *THREE)
    head = [(2 * 1 + 3 * 2 + 0 * 5) / 8, (3 + 6 + 5) / 8]
    assert found["delta"].tolist() == [3.0, 3.0, *head, 4.0]
    assert found["buffers"].tolist() == [3.0, head[0]]


def test_the_first_pattern_that_matches_wins():
    rules = {"*.weight": Median(), "*": TaskArithmetic(1.0)}
    assert merged(rules, *THREE)["delta"].tolist() == [3.0, 3.0, 2.0, 3.0, 16.0]
    with pytest.raises(ModelError, match=r"no parameter is left for pattern '\*\.weight'"):
        PerGroup(dict(reversed(rules.items()))).bind(SPEC)


def test_one_group_of_everything_is_its_rule():
    for rule in (Mean(), Median()):
        whole = add_up(rule.collect(update, Round(1, 0, 0, {})) for update in THREE)
        expected = rule.update(whole, {}, PARAMS, seed=0)[0].vectors
        found = merged({"*": rule}, *THREE)
        assert all(torch.equal(found[name], expected[name]) for name in ("delta", "buffers"))


def test_states_and_what_is_told_are_by_group():
    """Two agnostic rules side by side: their shares differ, as their rates do."""
    rule = PerGroup({"enc.*": AgnosticFL(0.1), "*": AgnosticFL(0.2)}).bind(SPEC)
    updates = [of("a", 1.0, *[0.0] * 5, loss=1.0), of("b", 1.0, *[1.0] * 5, loss=3.0)]
    found, state = play(rule, updates)
    assert found["delta"].tolist() == [0.5] * 5
    assert state["enc.*"]["shares"] == pytest.approx({"a": 0.8, "b": 1.2})
    assert state["*"]["shares"] == pytest.approx({"a": 0.6, "b": 1.4})
    assert rule.tells(state)["enc.*: lambda/a"] == pytest.approx(0.8)
    found, _ = play(rule, updates, state)
    torch.testing.assert_close(found["delta"][ENC], torch.full((3,), 0.6))
    torch.testing.assert_close(found["delta"][HEAD], torch.full((2,), 0.7))


def test_an_agents_weight_is_its_share_in_each_group_by_size():
    """Halves in the three elements of enc, three quarters and one in the two of head; c has none anywhere."""
    rules = {"enc.*": Mean(by_agent={"a": 1.0, "b": 1.0}), "*": Mean(by_agent={"a": 3.0, "b": 1.0})}
    rule, round = PerGroup(rules).bind(SPEC), Round(1, 0, 0, {"params": PARAMS})
    total = add_up(rule.collect(update, round) for update in THREE)
    told = rule.update(total, rule.init(PARAMS), PARAMS, seed=0)[0].scalars
    assert told == pytest.approx({"weight/a": 0.6, "weight/b": 0.4, "weight/c": 0.0})
    assert rule.weighs
    assert not PerGroup({"enc.*": Median(), "*": Mean()}).weighs


def test_groups_draw_different_random_numbers():
    """Two groups of equal size and rule: with one seed for both they would drop the same elements."""
    spec = ParamSpec((Entry("a", (64,), "float32", 0), Entry("b", (64,), "float32", 64)), ())
    rule = PerGroup({"a": Dare(0.5), "b": Dare(0.5)}).bind(spec)
    partial = rule.collect(Update("x", 1.0, {"delta": torch.ones(128)}), Round(1, 0, 0, {}))
    delta = rule.update(partial, rule.init(torch.zeros(128)), torch.zeros(128), seed=0)[0].vectors["delta"]
    assert not torch.equal(delta[:64], delta[64:])


def test_groups_of_groups():
    inner = PerGroup({"*.weight": Median(), "*": TaskArithmetic(1.0)})
    assert merged({"enc.*": inner, "*": Mean()}, *THREE)["delta"].tolist() == [3.0, 3.0, 8 / 8, 14 / 8, 16.0]


def test_what_it_asks_for_is_what_its_rules_do():
    rule = PerGroup({"a*": FisherMean(), "b*": AgnosticFL(0.1), "*": Krum(f=1)})
    assert rule.needs == ("fisher", "start_loss")
    assert rule.min_updates == Krum(f=1).min_updates == 5
    assert PerGroup({"a": Mean(), "*": FisherMean()}).laws == {"failure", "identity", "weights"}
    assert PerGroup({"a": Mean(), "*": Median()}).laws == {"failure", "identity"}
    assert not PerGroup({"a": Mean(), "*": FedDyn()}).takes_discounts


def test_an_agent_takes_part_in_the_groups_that_it_holds():
    """b holds the head alone: the median of enc is over a and c, and the head's over all three."""
    head = Coverage(Segments(5, ((2, 4),)), Segments(2, ((1, 2),)))
    a, b, c = (of(name, 1.0, *[value] * 5) for name, value in (("a", 1.0), ("b", 2.0), ("c", 9.0)))
    b = replace(b, vectors={"delta": torch.full((2,), 2.0), "buffers": torch.tensor([4.0])}, coverage=head)
    found = merged({"enc.*": Median(), "*": Median()}, a, b, c)
    assert found["delta"][ENC].tolist() == [5.0] * 3
    assert found["delta"][HEAD].tolist() == [2.0] * 2
    assert found["buffers"].tolist() == [5.0, 4.0]


def test_parts_of_a_group_are_divided_by_the_weight_that_arrived():
    """c holds enc.bias and half of the head, in another order than the model's."""
    part = Coverage(Segments(5, ((4, 5), (3, 4))), NO_BUFFERS)
    a, c = of("a", 1.0, *[1.0] * 5), of("c", 3.0, 5.0, 9.0, coverage=part)
    assert merged({"enc.*": Mean(), "*": Mean("uniform")}, a, c)["delta"].tolist() == [1.0, 1.0, 1.0, 5.0, 4.0]
    with pytest.raises(UpdateError, match=r"agents \['c'\] exchange only a part of the model"):
        merged({"enc.*": Median(), "*": Mean()}, a, c)


def test_a_group_that_nobody_holds_stays_as_it_is():
    head = Coverage(Segments(5, ((2, 4),)), NO_BUFFERS)
    rule = PerGroup({"enc.*": AgnosticFL(0.1), "*": Mean()}).bind(SPEC)
    found, state = play(rule, [of("b", 1.0, 1.0, 2.0, coverage=head, loss=1.0)])
    assert found["delta"].tolist() == [0.0, 0.0, 1.0, 2.0, 0.0]
    assert state["enc.*"] == {"shares": {}}


def test_round_vectors_are_copied_out_only_where_a_rule_reads_them():
    """The mean of head asks for nothing; enc, whose elements lie apart, sees its own."""

    class Watched(dict):
        read = 0

        def __getitem__(self, name):
            self.read += 1
            return super().__getitem__(name)

    rule = PerGroup({"enc.*": Mean(), "*": Mean()}).bind(SPEC)
    vectors = Watched(params=torch.arange(5.0))
    round = Round(1, 0, 0, vectors)
    rule.collect(THREE[0], round)
    assert vectors.read == 0
    seen = rule._round("enc.*", round).vectors
    assert seen["params"].tolist() == [0.0, 1.0, 4.0]
    assert dict(seen).keys() == {"params"}


def test_what_cannot_be_merged_is_known_before_the_round_is_accepted():
    """Names of agents, a group that too few hold, and one of no weight."""
    rule = PerGroup({"enc.*": Mean(by_agent={"a": 1.0}), "*": Mean()}).bind(SPEC)
    with pytest.raises(ConfigError, match="there is no agent 'a'; the agents are b, c"):
        rule.check_agents(["b", "c"], 2)
    rule.check_agents(["a", "b"], 2)
    round = Round(1, 0, 0, {"params": PARAMS})
    rule.check(add_up(rule.collect(update, round) for update in THREE))
    with pytest.raises(UpdateError, match="the weights of 2 updates sum to 0"):
        rule.check(add_up(rule.collect(update, round) for update in THREE[1:]))


def test_a_group_that_too_few_hold_is_refused():
    head = Coverage(Segments(5, ((2, 4),)), NO_BUFFERS)
    updates = [of(str(i), 1.0, 1.0, 2.0, coverage=head) for i in range(4)] + [of("whole", 1.0, *[1.0] * 5)]
    with pytest.raises(UpdateError, match=r"PerGroup: 1 updates hold something of group 'enc\.\*', and Krum needs 5"):
        merged({"enc.*": Krum(f=1), "*": Mean()}, *updates)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"enc.*": Mean()}, r"no pattern of 'enc\.\*' matches 'head\.weight'; add a rule for '\*' at the end"),
        ({"*.weight": Mean(), "*.bias": Mean()}, r"no pattern of .* matches 'enc\.mean'"),
        (
            {"deccoder.*": Mean(), "*": Mean()},
            r"no parameter is left for pattern 'deccoder\.\*'; there are: enc\.weight",
        ),
    ],
)
def test_names_that_do_not_fit_the_model_are_refused(rules, message):
    with pytest.raises(ModelError, match=message):
        PerGroup(rules).bind(SPEC)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, r"PerGroup\.rules={}: give at least one, such as {'\*': Mean\(\)}"),
        ({"*": "Mean"}, r"PerGroup\.rules\['\*'\]='Mean': must be an Aggregator, such as Mean\(\)"),
    ],
)
def test_rules_that_are_none_are_refused(rules, message):
    with pytest.raises(ConfigError, match=message):
        PerGroup(rules)


def test_a_file_can_name_it():
    task, agents = ImageClassification(MLP(64, 10), 10), Split(Digits("train"), IID(3), (StartLoss(SGD()),))
    groups = PerGroup({"1.*": AgnosticFL(0.1), "*": Dare(0.5, Median())})
    experiment = Experiment(task, agents, (groups,), Digits("test"))
    text = to_yaml(experiment)
    assert parse_experiment(text, "x") == experiment
    with pytest.raises(ConfigError, match=r"unknown key 'lrr' of chain\.0\.rules\.1\.\* \(AgnosticFL\)"):
        parse_experiment(text.replace("lr: 0.1\n      '*'", "lrr: 0.1\n      '*'"), "x")
