"""Adapters of several ranks in whole runs: the laws of rules, for one that has models of its own; and private ones."""

from dataclasses import replace

import pytest
import torch

import raycollab as rc
from raycollab.models import MLP, Adapted, LoRA

from .support import DIGITS, ONE_STEP, TEST, Training, digits, experiment, train, with_run

peft = pytest.importorskip("peft", reason="the extra `adapters` is not installed")
STEADY = rc.SGD(lr=0.1, momentum=0.9, steps=3, batch_size=8)
RULES = (rc.LoRAProduct(), rc.LoRAProduct(rc.Mean("uniform"), budget=6), rc.PerGroup({"*": rc.LoRAProduct()}))
RULES += (rc.PerGroup({"*lora_*": rc.LoRAProduct(), "*": rc.Median()}),)
each_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
RANKS = (1, 2, 4, 4, 2, 1, 4, 2)
SLICES = rc.Exchange(slices=True)


def adapted(rank, **settings):
    """The digits by a net of whose first two layers adapters learn, and the last layer as a whole."""
    lora = LoRA(("1", "3"), rank=rank, also=("5.*",), **settings)
    return replace(DIGITS, net=Adapted(MLP(64, 10, (16, 12)), lora))


def parties(tasks, *chain, learner=STEADY, rounds=4, **settings):
    """An agent for each of these tasks."""
    shards = rc.data.Digits("train").split(rc.Dirichlet(0.5, num_parts=len(tasks)))
    agents = [
        rc.Agent(f"agent-{i}", shard, learner, task) for i, (shard, task) in enumerate(zip(shards, tasks, strict=True))
    ]
    settings = {"task": adapted(4), "exchange": SLICES, **settings}
    return experiment(agents, *chain, test=TEST, rounds=rounds, **settings)


def case(rule, **settings):
    """Five of eight agents of three ranks in every round."""
    run = {"agents_per_round": 5, "eval_every": 4}
    return parties([adapted(rank) for rank in RANKS], rule, run=run, **settings)


@each_rule
def test_laws_of_runs(rule):
    """Hosts, the seed, and being killed after round 3 with a checkpoint of round 2."""
    done = train(case(rule))
    assert not [failure for report in done.reports for failure in report.failures]
    assert train(case(rule), num_hosts=8).bits() == done.bits()
    assert train(with_run(case(rule), seed=1)).bits() != done.bits()
    every_second = case(rule, checkpoint=rc.CheckpointConfig(every=2))
    killed = Training(every_second, num_hosts=4).steps(3)
    resumed = Training(every_second, folder=killed.folder)
    assert resumed.driver.version == 2
    assert resumed.finish().bits() == done.bits()


def test_agents_of_three_ranks_learn_together():
    learner = rc.SGD(lr=0.05, momentum=0.9, epochs=2)
    done = train(parties([adapted(rank) for rank in RANKS], rc.LoRAProduct(), learner=learner, rounds=5))
    assert done.reports[-1].train_loss < done.reports[0].train_loss - 0.1


def test_each_agent_gets_the_best_of_its_rank():
    """The layers that agents of rank 1, 2 and 4 start from, beside the singular values of the driver's."""
    done = train(case(rc.LoRAProduct()))
    (up, down) = (_named(done, f"3.lora_{factor}.raycollab_adapter.weight") for factor in "BA")
    whole = up @ down
    values = torch.linalg.svdvals(whole)
    assert (values[:4] > 1e-4).all()
    for rank in (1, 2, 4):
        left = torch.linalg.matrix_norm(whole - up[:, :rank] @ down[:rank])
        torch.testing.assert_close(left, values[rank:].square().sum().sqrt(), atol=1e-5, rtol=1e-4)


def _named(done, name):
    (entry,) = (entry for entry in done.driver.offer.spec.params if entry.name == name)
    return done.params[entry.offset : entry.stop].view(entry.shape)


def test_ranks_in_use_stand_in_the_rows_of_rounds():
    done = train(case(rc.LoRAProduct(budget=5)))
    rows = done.folder.rows()
    assert [row["rank/1"] + row["rank/3"] for row in rows] == [5.0] * 4
    assert all(0 <= row["energy_lost"] < 0.5 for row in rows)
    used = [int((_named(done, f"{layer}.lora_B.raycollab_adapter.weight").norm(dim=0) > 0).sum()) for layer in "13"]
    assert used == [rows[-1]["rank/1"], rows[-1]["rank/3"]]
    assert "rank/1" not in train(case(rc.Mean())).folder.rows()[0]


def test_ranks_that_differ_have_to_be_asked_for():
    with pytest.raises(rc.TaskMismatchError, match="5 of 8 agents could not start"):
        Training(case(rc.LoRAProduct(), exchange=rc.Exchange()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 8.0}, r"'1.lora_A.raycollab_adapter.weight' is scaled by 4, the driver's by 2: .* in proportion to"),
        ({"stabilised": True}, r"is scaled by 2.82843, the driver's by 2: where ranks differ, LoRA.alpha must be"),
    ],
)
def test_adapters_of_another_scale_are_refused(settings, message):
    with pytest.raises(rc.DataError, match=message):
        Training(parties([adapted(2, **settings)], rc.LoRAProduct()))


def test_scales_that_are_alike_are_fine():
    """8 / 4, 4 / 2; and 4 / sqrt(4), sqrt(8) / sqrt(2)."""
    for large, small in (((8.0, False), (4.0, False)), ((4.0, True), (8**0.5, True))):
        whole, part = (adapted(rank, alpha=alpha, stabilised=root) for rank, (alpha, root) in ((4, large), (2, small)))
        assert len(train(parties([part, whole], rc.LoRAProduct(), task=whole, rounds=1)).reports[0].agents) == 2


def test_a_rank_above_the_drivers_is_refused():
    with pytest.raises(rc.TaskMismatchError, match=r"no exchanged 1\.lora_A\.raycollab_adapter\.weight"):
        Training(parties([adapted(8)], rc.LoRAProduct()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"mode": rc.Buffered(2)},
            r"mode=Buffered\(.*\): must start all agents of a round from one version",
        ),
        ({"learner": rc.Scaffold(ONE_STEP)}, r"needs the common \['control'\], which LoRAProduct does not make anew"),
        ({"scaling": rc.ScalingConfig(slices=2)}, r"LoRAProduct\(.*\) does more than sum"),
    ],
)
def test_what_does_not_go_with_it_is_refused_by_name(settings, message):
    for rule in RULES[:1] + RULES[-1:]:
        with pytest.raises(rc.ConfigError, match=message):
            case(rule, **settings).resolved()


def test_a_net_without_adapters_is_refused_before_round_1():
    with pytest.raises(rc.ModelError, match=r"LoRAProduct: no adapter of low rank is exchanged; there are: 1.weight"):
        Training(digits(ONE_STEP, rc.LoRAProduct()))


def of_party(classes, own):
    """A task with a head for so many classes; an adapter in layer 1 is common, `own` is the party's."""
    trunk = Adapted(Adapted(MLP(64, 12, (16,)), LoRA(("1",), rank=4)), own)
    return rc.ImageClassification(rc.models.Headed(trunk, MLP(12, classes, ())), classes)


COMMON = rc.Exchange(include=("trunk.1.lora_*",))


def test_parties_share_one_adapter_and_keep_another_and_their_head():
    """Of two tasks on one trunk: the adapter of layer 1 travels, those of layer 3, of two ranks, and heads do not."""
    ten, two = (of_party(classes, LoRA(("3",), rank=rank)) for classes, rank in ((10, 2), (2, 3)))
    shards = rc.data.Digits("train").split(rc.IID(2))
    agents = [
        rc.Agent("digits", shards[0], STEADY),
        rc.Agent("odd", rc.data.Relabelled(shards[1], tuple(digit % 2 for digit in range(10))), STEADY, two),
    ]
    done = train(
        experiment(agents, rc.LoRAProduct(), task=ten, test=TEST, rounds=2, exchange=COMMON),
        num_hosts=2,
    )
    assert [entry.name.partition(".lora")[0] for entry in done.driver.offer.spec.params] == ["trunk.1"] * 2
    assert [len(report.agents) for report in done.reports] == [2, 2]
    private = {name: done.remembered(name)["private"] for name in ("digits", "odd")}
    shapes = {name: tuple(held["trunk.3.lora_B.raycollab_adapter.weight"].shape) for name, held in private.items()}
    assert shapes == {"digits": (12, 2), "odd": (12, 3)}
    assert {tuple(held["head.1.weight"].shape) for held in private.values()} == {(10, 12), (2, 12)}
    assert all(held["trunk.3.lora_B.raycollab_adapter.weight"].abs().sum() > 0 for held in private.values())
