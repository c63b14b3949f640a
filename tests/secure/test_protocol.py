"""A round of secure sums: what comes out, who may drop out when, and what is refused from those who lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import raycollab as rc
from raycollab.aggregation import add_up
from raycollab.errors import ConfigError, UpdateError
from raycollab.keys import new_key
from raycollab.secure.messages import Advertise, Arrived, Deal, Dealt, Deliver, Keys, Shares, Unmask
from raycollab.types import AgentReport

from .support import Scene, same_bits, updates
from .test_masking import chi_squared

PHASES = ("Advertise", "Deal", "Deliver", "update", "Arrived", "Unmask")
OUT = ("a2", "a5", "a9")  # 30 % of ten


@pytest.mark.parametrize("bits", [32, 64])
def test_the_sum_is_that_of_whole_numbers_to_the_bit(bits):
    """And the mean of it that of the updates, to half a unit of each."""
    scene = Scene(rc.SecureSum(rc.Mean(), min_agents=4, bits=bits))
    opened = scene.run()
    assert (opened.lack, opened.failures, opened.notes, scene.refused) == ("", (), (), {})
    assert same_bits(opened.total, scene.plain())
    mean = add_up([rc.Mean().collect(update, scene.round) for update in updates()]).mean()
    for name, vector in mean.vectors.items():
        torch.testing.assert_close(opened.total.mean().vectors[name], vector, rtol=1e-6, atol=1e-6)
    assert opened.total.mean().scalars == pytest.approx(mean.scalars)


@pytest.mark.parametrize("phase", PHASES)
def test_thirty_percent_may_drop_out_at_any_message(phase):
    """Before the update they are not in the sum; after it they are. Either way it is the plain sum, bit for bit."""
    scene = Scene(silent={phase: OUT})
    opened = scene.run()
    assert opened.lack == ""
    inside = PHASES.index(phase) > PHASES.index("update")
    assert scene.there == [name for name in scene.names if inside or name not in OUT]
    assert same_bits(opened.total, scene.plain())
    lost = [failure.agent for failure in scene.lost]
    assert lost == (list(OUT) if PHASES.index(phase) < PHASES.index("update") else [])


def test_one_may_drop_out_at_each_message_of_a_round():
    rule = rc.SecureSum(rc.Mean(), min_agents=4, max_weight=20.0)
    scene = Scene(rule, count=20, silent={phase: [f"a{place}"] for place, phase in enumerate(PHASES)})
    opened = scene.run(updates(20))
    assert opened.lack == ""
    assert len(scene.there) == 16  # four phases are before the update arrives
    assert same_bits(opened.total, scene.plain(some=updates(20)))


@pytest.mark.parametrize("phase", PHASES)
def test_with_too_few_left_nothing_is_opened(phase):
    """Of ten keys seven are needed: of four that are left, none sends an update, or nobody gets a share of a seed."""
    out = [f"a{i}" for i in range(6)]
    scene = Scene(rule=rc.SecureSum(rc.Mean(), min_agents=5), silent={phase: out})
    opened = scene.run()
    assert opened.total is None
    assert opened.lack
    if PHASES.index(phase) < PHASES.index("update"):
        assert scene.there == []
        assert {failure.error for failure in scene.lost} == {"Timeout", "QuorumError"}
    if phase in ("update", "Arrived"):
        assert not any(isinstance(each, Shares) for each in scene.seen)


def test_what_the_driver_holds_looks_random():
    """Each masked update, and the sum of some of them, is uniform: 99.99 % quantile of 255 degrees of freedom."""
    scene = Scene(count=5, rule=rc.SecureSum(rc.Mean(), min_agents=3))
    some = updates(5, size=2**17)
    partials, _ = scene.send(scene.begin(), some)
    plain = scene.rule.collect(some[0], scene.round)
    assert chi_squared(plain.whole()[1], 32)[0] > 1e4
    for each in (*partials, add_up(partials[:2]), add_up(partials[:4])):
        assert max(chi_squared(each.whole()[1], 32)) < 347.7
    heads = np.array([value >> 64 for each in partials for value in each.whole()[1].head], dtype=np.float64)
    assert np.unique(heads).size == heads.size


def test_two_attempts_share_no_secret():
    """The same update, masked twice: the difference is as random as either."""
    scene = Scene(count=4, rule=rc.SecureSum(rc.Mean(), min_agents=3))
    some = updates(4, size=2**17)
    first, _ = scene.send(scene.begin(), some)
    second, _ = scene.send(scene.begin(attempt=1), some)
    one, other = first[0].whole()[1], second[0].whole()[1]
    one.body -= other.body
    assert max(chi_squared(one, 32)) < 347.7


def test_of_the_largest_agent_only_a_power_of_two_is_told():
    """Weights need a limit that all know; nobody's number of examples is in any message."""
    scene = Scene(count=4)
    round = rc.Round(1, 0, 0, {}, agents=scene.names)
    for most, told in ((513, 1024.0), (1000, 1024.0), (1024, 1024.0), (1025, 2048.0)):
        begun, _ = scene.driver.begin(round, {"a0": 7, "a1": most, "a2": 9, "a3": 11}, scene.talk)
        assert begun.scalars == {"most_examples": told}


def test_reports_tell_neither_loss_nor_norm_and_the_sum_tells_the_mean_loss():
    scene = Scene()
    opened = scene.run()
    assert all(np.isnan((report.loss, report.norm)).all() for report in scene.reports)
    weights = np.arange(1, 11)
    assert opened.loss == pytest.approx(float(((weights - 0.5) * weights).sum() / weights.sum()))


def test_what_was_cut_is_said_of_all_together():
    some = updates()
    some[3].vectors["delta"][:2] = 100.0
    some[7].vectors["delta"][0] = -100.0
    opened = Scene().run(some)
    assert opened.notes == ("secure sum: 3 elements of all updates together were above clip=8, and cut to it",)


# what agents refuse


def told(scene, kind, **changes):
    """Answers of all agents to a message that was changed on its way, as one driver says it to all."""
    scene.forge = lambda name, message: replace(message, **changes) if isinstance(message, kind) else message
    opened = scene.run()
    return opened, scene.refused


def test_an_agent_helps_to_open_no_sum_below_its_own_minimum():
    """Whatever the driver says the minimum is: an agent goes by what its party agreed to."""
    scene = Scene()
    scene.driver = rc.SecureSum(rc.Mean(), min_agents=3, threshold=0.51).driver_side("run")
    opened, refused = told(scene, Arrived, names=("a0", "a1", "a2"))
    assert opened.total is None
    assert refused["a0"].endswith("helps to open sums of at least 7 agents, and this is of 3")
    assert "cannot be who is in the sum" in refused["a9"]


@pytest.mark.parametrize(
    "names", [("a0",) * 7, ("a1", "a0", "a2", "a3", "a4", "a5", "a6"), ("a1",), ("a0", "stranger")]
)
def test_a_list_that_counts_somebody_twice_or_a_stranger_is_refused(names):
    """Or a few agents would pass for many."""
    scene = Scene()
    scene.send(scene.begin())
    with pytest.raises(UpdateError, match="cannot be who is in the sum that it sent its update for"):
        scene.sides["a0"].answer(Arrived((1, 0, 0), names))


def test_an_agent_listens_to_one_list_of_names():
    scene = Scene()
    partials, there = scene.send(scene.begin())
    side, names = scene.sides["a0"], tuple(there)
    made_in = (1, 0, 0)
    side.answer(Arrived(made_in, names))
    with pytest.raises(UpdateError, match="told of another list of agents before"):
        side.answer(Arrived(made_in, names[:-1]))
    assert partials


@pytest.mark.parametrize("hides_tags", [False, True])
def test_a_driver_that_tells_agents_different_lists_never_gets_both_kinds_of_shares(hides_tags):
    """Some are told that a9 is in the sum and some that it is not: with shares of both, its update would lie open.

    Six of ten must have seen the same list, and no two lists can have been seen by six; also if the driver brings each
    agent only the tags of those that it told the same.
    """
    scene = Scene(rule=rc.SecureSum(rc.Mean(), min_agents=4, threshold=0.51))
    others = ("a5", "a6", "a7", "a8")

    def forge(name, message):
        if isinstance(message, Arrived) and name in others:
            return replace(message, names=message.names[:-1])
        if isinstance(message, Unmask) and hides_tags:
            mine = {each: tag for each, tag in message.tags.items() if (each in others) == (name in others)}
            return replace(message, tags=mine)
        return message

    scene.forge = forge
    scene.run()
    revealed = [each for each in scene.seen if isinstance(each, Shares)]
    assert not any("a9" in each.keys for each in revealed)
    assert len(revealed) == (6 if hides_tags else 1)
    wrong = "4 agents have seen the same list, and 6 must have" if hides_tags else "did not see the same list of agents"
    assert wrong in scene.refused["a5"]


def test_no_agent_ever_reveals_both_shares_of_another():
    """With dropouts: one kind for each agent, and a second Unmask of the attempt brings the same shares again."""
    scene = Scene(silent={"update": OUT})
    scene.run()
    answers = [each for each in scene.seen if isinstance(each, Shares)]
    assert len(answers) == 7
    for answer in answers:
        assert set(answer.keys) == set(OUT)
        assert set(answer.seeds) == set(scene.names) - set(OUT)


def test_an_agent_reveals_nothing_before_it_was_told_who_is_in_the_sum():
    scene = Scene()
    scene.send(scene.begin())
    with pytest.raises(UpdateError, match="was not told who is in the sum"):
        scene.sides["a0"].answer(Unmask((1, 0, 0), {}))
    scene.sides["a0"].answer(Arrived((1, 0, 0), scene.names))
    with pytest.raises(UpdateError, match="1 agents have seen the same list, and 7 must have"):
        scene.sides["a0"].answer(Unmask((1, 0, 0), {}))


def test_a_mask_hides_one_update_only():
    """A driver that lets an agent learn from two models in one attempt would get the difference of both updates."""
    scene = Scene()
    scene.send(scene.begin())
    with pytest.raises(UpdateError, match="has masked an update in this attempt already"):
        scene.send(["a0"])


def test_messages_of_another_attempt_are_refused():
    """A replayed message, and an update of another attempt than the masks."""
    scene = Scene()
    scene.begin()
    old = next(each for each in scene.seen if isinstance(each, Deliver))
    scene.begin(attempt=1)
    with pytest.raises(UpdateError, match="message is of another attempt; it is refused"):
        scene.sides["a0"].answer(old)
    scene.round = replace(scene.round, attempt=0)
    with pytest.raises(UpdateError, match="agreed on no masks for this attempt"):
        scene.send(["a0"])


def test_an_agent_started_anew_sends_nothing_without_masks():
    """Its update is lost to this round, as if it had dropped out; never is it sent in the clear."""
    scene = Scene()
    ready = scene.begin()
    scene.sides["a3"] = scene.rule.agent_side(scene.identity("a3"))
    with pytest.raises(UpdateError, match="sends nothing without"):
        scene.send(ready)
    partials, there = scene.send([name for name in ready if name != "a3"][3:]), None
    assert partials
    assert there is None


def test_shares_are_dealt_and_taken_once():
    scene = Scene()
    scene.begin()
    deal = next(each for each in scene.seen if isinstance(each, Deal))
    with pytest.raises(UpdateError, match="deals them once"):
        scene.sides["a0"].answer(deal)
    deliver = next(each for each in scene.seen if isinstance(each, Deliver) and "a0" not in each.sealed)
    with pytest.raises(UpdateError, match="takes them once"):
        scene.sides["a0"].answer(deliver)


def test_a_share_that_was_changed_on_its_way_is_refused_by_name():
    scene = Scene()

    def change(name, answer):
        if name == "a4" and isinstance(answer, Dealt):
            return replace(answer, sealed={**answer.sealed, "a1": answer.sealed["a1"][:-1] + b"\0"})
        return answer

    scene.change = change
    opened = scene.run()
    assert "cannot take the share of 'a4': it does not open" in scene.refused["a1"]
    assert [failure.agent for failure in scene.lost] == ["a1"]
    assert opened.lack == ""  # a1 is a dropout like any other
    assert same_bits(opened.total, scene.plain())


def test_a_share_of_another_receiver_does_not_open():
    scene = Scene()

    def change(name, answer):
        if name == "a4" and isinstance(answer, Dealt):
            return replace(answer, sealed={**answer.sealed, "a1": answer.sealed["a2"]})
        return answer

    scene.change = change
    scene.run()
    assert "cannot take the share of 'a4'" in scene.refused["a1"]


def test_a_share_other_than_its_dealer_says_is_refused_by_name():
    scene = Scene()

    def change(name, answer):
        if name == "a4" and isinstance(answer, Dealt):
            return replace(answer, digests={**answer.digests, "a1": (b"x" * 32, b"y" * 32)})
        return answer

    scene.change = change
    scene.run()
    assert "the share that 'a4' has dealt is not the one it says" in scene.refused["a1"]


@pytest.mark.parametrize("silent", [{}, {"update": ("a8", "a9")}])
def test_a_wrong_share_is_left_out_and_its_sender_named(silent):
    """Both of a seed and of a key: the others' shares are enough."""
    scene = Scene(silent=silent)

    def change(name, answer):
        if name == "a1" and isinstance(answer, Shares):
            seeds = {each: b"\1" * 33 for each in answer.seeds}
            return Shares(seeds, {each: b"\2" * 33 for each in answer.keys})
        return answer

    scene.change = change
    opened = scene.run()
    assert same_bits(opened.total, scene.plain())
    assert len(opened.notes) == 10
    assert opened.notes[0] == "agent 'a1' sent a wrong share of what 'a0' has dealt it: it is left out"


def test_too_many_wrong_shares_open_nothing_and_are_named():
    scene = Scene()

    def change(name, answer):
        if name in ("a0", "a1", "a2", "a3") and isinstance(answer, Shares):
            return replace(answer, seeds={each: b"\1" * 33 for each in answer.seeds})
        return answer

    scene.change = change
    opened = scene.run()
    assert opened.total is None
    assert "6 agents helped to take the masks of 'a0' away, and 7 are needed" in opened.lack
    assert "agent 'a3' sent a wrong share of what 'a0' has dealt it" in opened.lack


def test_a_replayed_update_does_not_open():
    """The masked update of an earlier round, passed off as one of this."""
    scene = Scene()
    old, _ = scene.send(scene.begin())
    partials, there = scene.send(scene.begin(attempt=1))
    (form, _), (_, residues) = partials[3].whole(), old[3].whole()
    partials[3].parts = {form: residues}
    opened = scene.driver.finish(add_up(partials), there, scene.talk)
    assert opened.total is None
    assert "an update in it was replayed, or changed after its agent had masked it" in opened.lack


def test_an_update_of_another_attempt_as_it_is_is_of_another_form():
    scene = Scene()
    old, _ = scene.send(scene.begin())
    partials, there = scene.send(scene.begin(attempt=1))
    opened = scene.driver.finish(add_up([*partials[:3], old[3], *partials[4:]]), there, scene.talk)
    assert "2 forms cannot be summed under masks" in opened.lack


def test_an_answer_of_another_kind_is_refused():
    scene = Scene(change=lambda name, answer: "hello" if name == "a1" and isinstance(answer, Keys) else answer)
    scene.run()
    assert scene.lost[0].message == "agent 'a1' answered with a str, not a Keys; it is refused"


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda keys: {**keys, "a0": keys["a1"]}, "the keys that it is told are not its own"),
        (lambda keys: {**keys, "a2": keys["a1"]}, "two keys that it is told are the same"),
        (
            lambda keys: {name: keys[name] for name in ("a0", "a1", "a2")},
            "3 agents are few to hide among, min_agents=4",
        ),
    ],
)
def test_keys_that_cannot_be_are_refused(forge, message):
    def changed(name, sent):
        return replace(sent, keys=forge(sent.keys)) if isinstance(sent, Deal) and name == "a0" else sent

    scene = Scene(forge=changed)
    scene.begin()
    assert message in scene.refused["a0"]


def test_agents_that_were_told_different_keys_take_no_shares():
    """All that is sealed is bound to the list of keys: a driver cannot show each agent other company."""
    extra = Scene(count=11)
    extra.begin()
    stranger = extra.driver._keys["a10"]

    def changed(name, sent):
        return replace(sent, keys={**sent.keys, "a9": stranger}) if isinstance(sent, Deal) and name == "a0" else sent

    scene = Scene(forge=changed)
    scene.begin()
    assert "cannot take the share of" in scene.refused["a0"]
    assert "cannot take the share of 'a0'" in scene.refused["a1"]


def test_an_opened_round_that_is_done_again_must_not_differ_by_few():
    """Updates of a round are the same each time: sums over ten and over nine of them would tell the tenth."""
    scene = Scene()
    assert scene.run().lack == ""
    scene.silent = {"update": ("a9",)}
    partials, there = scene.send(scene.begin(attempt=1))
    opened = scene.driver.finish(add_up(partials), there, scene.talk)
    assert opened.total is None
    assert "the difference would tell what ['a9'] sent" in scene.refused["a0"]
    scene.silent = {}
    partials, there = scene.send(scene.begin(attempt=2))
    assert scene.driver.finish(add_up(partials), there, scene.talk).lack == ""


def test_parties_with_keys_know_each_other(tmp_path):
    """Keys of a stranger, or signed for another round, are refused before anything is dealt."""
    held = {f"a{i}": new_key(f"a{i}", str(tmp_path)) for i in range(4)}
    known = {name: key.public for name, key in held.items()}
    sign = {name: key.signer() for name, key in held.items()}
    good = Scene(count=4, rule=rc.SecureSum(rc.Mean(), min_agents=3), sign=sign, keys=known)
    assert good.run(updates(4)).lack == ""
    for wrong in ({**sign, "a3": sign["a2"]}, {**sign, "a3": None}):
        scene = Scene(count=4, rule=rc.SecureSum(rc.Mean(), min_agents=3), sign=wrong, keys=known)
        assert scene.run(updates(4)).total is None
        assert scene.refused["a0"].endswith("the keys that it is told 'a3' has are not signed by that party")
    with pytest.raises(ConfigError, match="agent 'a9': the experiment lists no key of it"):
        good.rule.agent_side(replace(good.identity("a0"), name="a9"))


def test_a_rule_without_messages_answers_none():
    side = rc.Mean().agent_side(Scene().identity("a0"))
    with pytest.raises(UpdateError, match="agent 'a0' was sent a Advertise, and its rule asks for no answers"):
        side.answer(Advertise((1, 0, 0)))
    update, report = updates()[0], AgentReport("a0", loss=1.0)
    partial, same = side.collect(update, report, rc.Round(1, 0, 0, {}))
    assert same is report
    assert partial.count == 1
