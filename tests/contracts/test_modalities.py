"""Parties that see, hear and both: each encoder is learned by who has data for it, and nobody sends another's."""

from dataclasses import dataclass, replace

import pytest
import torch

import raycollab as rc

from .support import Training, experiment, train

ENCODERS = {"sound": rc.models.MLP(3, 5, ()), "image": rc.models.MLP(4, 5, ())}
NET = rc.models.Multimodal(ENCODERS, rc.fusion.Gated(6), 3)
TASK = rc.tasks.Multimodal(NET, 3)
STEP = rc.SGD(lr=0.5, steps=1, batch_size=8)
HELD = (("image",), ("sound",), ("image", "sound"), ("image",))


def rows(count, seed, names=("image", "sound"), **more):
    generator = torch.Generator().manual_seed(seed)
    columns = {"image": torch.randn(count, 4, generator=generator), "sound": torch.randn(count, 3, generator=generator)}
    held = {name: columns[name] for name in names}
    return rc.data.Arrays({**held, "label": torch.arange(count) % 3, **more}, f"rows {seed}")


TEST = rows(30, 99)


def parties(*chain, learner=STEP, held=HELD, task=TASK, rounds=1, **settings):
    agents = [
        rc.Agent(f"agent-{i}", rows(24 + 4 * i, i, names), learner, task.only(*names)) for i, names in enumerate(held)
    ]
    return experiment(agents, *chain, task=task, test=TEST, rounds=rounds, **settings)


def moved(done, start, part):
    places = [e for e in done.driver.offer.spec.params if part in e.name.split(".")]
    return torch.cat([(done.params - start)[e.offset : e.stop] for e in places])


def alone(i):
    """What agent i alone makes of the common start."""
    return train(parties(run={"agents_per_round": 1}, select=Only((f"agent-{i}",))))


@dataclass(frozen=True)
class Only(rc.Selection):
    """Always these agents."""

    names: tuple[str, ...]

    def select(self, candidates, count, *, round, seed):
        return list(self.names)


def test_each_encoder_is_the_mean_of_those_who_hold_it():
    together = Training(parties())
    start = together.params
    together.finish()
    weights = torch.tensor([card.examples for card in together.cards], dtype=torch.float32)
    each = [alone(i) for i in range(4)]
    for part, holders in (("image", (0, 2, 3)), ("sound", (1, 2)), ("head", (0, 1, 2, 3))):
        total = sum(weights[i] * moved(each[i], start, part) for i in holders)
        expected = total / weights[list(holders)].sum()
        torch.testing.assert_close(moved(together, start, part), expected, rtol=1e-4, atol=1e-6)
    assert not bool(moved(each[0], start, "sound").any())


def test_bytes_are_those_of_the_blocks_that_are_held():
    done = train(parties(held=(("image",), ("sound",))))
    sizes = {row.agent: row.num_bytes for row in done.reports[0].agents}
    head = 6 * 3 + 3
    assert sizes["agent-0"] == 4 * (4 * 5 + 5 + 2 * (5 * 6 + 6) + head)
    assert sizes["agent-1"] == 4 * (3 * 5 + 5 + 2 * (5 * 6 + 6) + head)


def test_encoders_weighed_by_who_had_what():
    """Agent 1 has both encoders and ten times the rows of agent 0, but hears in half as many rows as agent 0 does."""
    few, many = rows(10, 1), rows(100, 2, has_sound=torch.arange(100) < 5)
    learner = rc.ModalityCounts(STEP, ("sound",))
    agents = [rc.Agent(name, source, learner, val_fraction=0.0) for name, source in (("few", few), ("many", many))]
    rule = rc.PerGroup({"*sound*": rc.Mean(scalar="with[sound]"), "*": rc.Mean()})

    def trained(*names):
        return experiment(
            [agent for agent in agents if agent.name in names], rule, task=TASK, test=TEST, rounds=1
        )  # fmt: skip

    together = Training(trained("few", "many"))
    start = together.params
    together.finish()
    one, other = (train(trained(name)) for name in ("few", "many"))
    for part, shares in (("sound", (10, 5)), ("head", (10, 100))):
        pieces = [moved(done, start, part) for done in (one, other)]
        expected = (shares[0] * pieces[0] + shares[1] * pieces[1]) / sum(shares)
        torch.testing.assert_close(moved(together, start, part), expected, rtol=1e-4, atol=1e-6)


def test_the_grid_of_every_agent_is_in_its_rows():
    done = Training(parties(rounds=2)).finish()
    own = done.reports[-1].own_metrics
    assert {name for name in own["agent-0"] if "[" in name} == {"accuracy[image]"}
    assert {name for name in own["agent-2"] if "[" in name} == {
        "accuracy[image]",
        "accuracy[sound]",
        "accuracy[image+sound]",
    }
    assert {"accuracy[image]", "accuracy[sound]", "accuracy[image+sound]"} <= set(done.reports[-1].metrics)


@pytest.mark.parametrize("num_hosts", [2, 3])
def test_hosts_change_no_bit(num_hosts):
    task = replace(TASK, net=replace(NET, alone=True), auxiliary=0.5, modality_dropout=0.3)
    settings = {"task": task, "rounds": 2}
    assert train(parties(**settings)).bits() == train(parties(**settings), num_hosts=num_hosts).bits()


def test_a_party_with_another_encoder_is_refused():
    other = replace(NET, encoders={**ENCODERS, "image": rc.models.MLP(4, 5, (7,))})
    agents = [rc.Agent("odd", rows(24, 0), STEP, replace(TASK, net=other))]
    with pytest.raises(rc.TaskMismatchError, match=r"odd: .*no exchanged image.1.bias"):
        Training(experiment(agents, task=TASK, test=TEST, rounds=1))


def test_contrastive_pretraining_is_a_stage_before(tmp_path):
    """What the two towers have learned of images and texts is where the encoders begin; the rest is fresh."""
    image, text = rc.models.MLP(16, 5, ()), rc.models.TextCNN(5, vocab_size=9, channels=4)
    generator = torch.Generator().manual_seed(0)
    pairs = {"image": torch.rand(24, 1, 4, 4, generator=generator), "text": torch.randint(0, 9, (24, 6))}
    source = rc.data.Arrays({**pairs, "label": torch.arange(24) % 3})
    net = rc.models.Multimodal({"image": image, "text": text}, rc.fusion.Gated(6), 3)
    learn = rc.SGD(lr=0.1, steps=1, batch_size=8)

    def stage(task):
        made = experiment([rc.Agent("one", source, learn, val_fraction=0.0)], task=task, test=source, rounds=1)
        run = replace(made.run, dir=str(tmp_path), name="both")
        return replace(made, run=run, scaling=rc.ScalingConfig(pool="local"))

    pretrain = rc.Contrastive(rc.models.TwoTowers(image, text), candidates=8)
    done = rc.run_stages({"pretrain": stage(pretrain), "tune": stage(rc.Multimodal(net, 3))})
    told, taken = done.last.history[0]["notes"], len(image.build().state_dict()) + len(text.build().state_dict())
    assert f"{taken} tensors taken over; fresh: fusion." in told


def test_the_trained_model_predicts_from_any_of_them(tmp_path):
    """And its folder says what each adds, in words and pictures."""
    made = parties()
    run = replace(made.run, dir=str(tmp_path), name="three")
    result = rc.run_experiment(replace(made, run=run, scaling=rc.ScalingConfig(pool="local")))
    model, columns = result.model(), TEST.read()
    for names in (("image",), ("sound",), ("image", "sound")):
        assert model.predict({name: columns[name] for name in names})["prediction"].shape == (30,)
    with pytest.raises(rc.DataError, match="predict: no column 'image'; there are: smell"):
        model.predict({"smell": columns["image"]})
    assert "what each modality adds to the accuracy: " in (tmp_path / "three" / "report.txt").read_text()
    assert all((tmp_path / "three" / f"{name}.png").exists() for name in ("modalities", "agents_by_modality"))
