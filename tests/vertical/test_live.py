"""Whatever crosses between a party and others is looked at: neither ids, nor columns, nor labels are in it."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch

import raycollab as rc
from raycollab.data import Arrays
from raycollab.errors import ModelError, UpdateError
from raycollab.vertical import fitting
from raycollab.vertical.live import LiveParty
from raycollab.vertical.plan import Plan
from raycollab.vertical.sides import LocalSides

from .support import FUSION, TASK, TEST, fit, parties, people

PUBLIC = {name for name in vars(LiveParty) if not name.startswith("_")}
FEW = 5  # floats of some ten thousand that happen to be equal to one of a column
CARRY = {"open", "align", "build_top", "forward", "backward", "step", "end_round", "look", "score", "scores"}


class Overheard:
    """A party of which all that goes in and comes out is taken down, as (party, method, values)."""

    def __init__(self, live, name, heard):
        self._live, self._name, self._heard = live, name, heard

    def __getattr__(self, method):
        def call(*given):
            answer = getattr(self._live, method)(*given)
            self._heard.append((self._name, method, (given, answer)))
            return answer

        return call


@pytest.fixture
def heard(tmp_path, monkeypatch):
    """All messages of a run of two rounds."""
    messages = []

    class Sides(LocalSides):
        def __init__(self, *settings):
            super().__init__(*settings)
            self.live = {name: Overheard(live, name, messages) for name, live in self.live.items()}

    monkeypatch.setattr(fitting, "LocalSides", Sides)
    fit(tmp_path, num_rounds=2)
    return messages


def leaves(value):
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def secrets():
    """What must stay: eight bytes of each id, four of each number of a column."""
    ids, columns, _ = people()
    return {each.tobytes() for each in ids} | {
        each.astype(np.float32).tobytes() for held in columns.values() for each in held.ravel()
    }


def found_in(messages):
    """The secrets that stand in any array or text that crossed."""
    raw = [
        each.tobytes() if isinstance(each, np.ndarray) else str(each).encode()
        for _, _, m in messages
        for each in leaves(m)
    ]
    known = secrets()
    return [part for data in raw for width in (4, 8) for start in range(0, len(data), width)
            if (part := data[start : start + width]) in known]  # fmt: skip


def test_these_are_all_the_ways_in_and_out():
    """A method that is added is looked at by this test first."""
    assert CARRY | {"save", "restore", "write"} == PUBLIC  # those three speak with the run folder alone


def test_columns_and_ids_are_in_no_message(heard):
    assert {method for _, method, _ in heard} >= CARRY
    assert len(found_in(heard)) < FEW


def test_the_search_finds_what_should_not_be_there(heard):
    """A batch of one column, or of ids."""
    ids, columns, _ = people()
    assert len(found_in([*heard, ("north", "look", columns["north"][:32, 0])])) >= 32
    assert len(found_in([*heard, ("north", "open", ids[:32])])) >= 32


def test_labels_are_in_no_message(heard):
    """All that leaves the bank: hashes, counts, gradients of the others' activations, a mean loss, metrics, a text."""
    kinds = {}
    for name, method, (_, answer) in heard:
        if name == "bank":
            kinds.setdefault(method, []).append(answer)
    assert {method for method, answers in kinds.items() if any(answer is not None for answer in answers)} == {
        "open", "align", "step", "end_round", "scores",
    }  # fmt: skip
    for gradients in kinds["step"]:
        assert [gradient.dtype for gradient in gradients] == [np.float32] * 2  # of north and south
        assert all(gradient.shape[1:] == (4,) and len(gradient) <= 32 for gradient in gradients)
    assert all(isinstance(loss, float) for loss in kinds["end_round"])
    for scores in kinds["scores"]:
        assert all(isinstance(value, float) for value in scores.metrics.values())
    with_classes = next(iter(kinds["open"]))
    assert {field.name for field in fields(with_classes)} == {"hashes", "num_rejected", "salt_tag", "shape"}


def test_only_what_is_needed_is_read_of_a_message(heard):
    """What the others are told: round and batch, the common hashes, the gradient of what they sent."""
    for name, method, (given, _) in heard:
        if name != "bank" and method in ("forward", "look"):
            assert all(isinstance(each, int) for each in given)
        if name != "bank" and method == "backward":
            assert [type(each) for each in given] == [int, int, np.ndarray]


def live(folder, number=0, **changes):
    party = parties(folder)[number]
    return LiveParty(replace(party, **changes), Plan(TASK, FUSION, TEST, 32, 0, 1))


def test_a_party_is_asked_for_what_it_has_not(tmp_path):
    north = live(tmp_path)
    north.open()
    with pytest.raises(ModelError, match="party 'north' has no labels"):
        north.step(1, 0)
    bank = live(tmp_path, 2, net=None)
    bank.open()
    with pytest.raises(UpdateError, match="party 'bank' has no net of its own"):
        bank.look(0)


def test_activations_of_another_shape_are_refused(tmp_path):
    bank = live(tmp_path, 2)
    common = np.sort(bank.open().hashes)
    bank.align(common)
    bank.build_top({"north": (4,), "bank": (4,)})
    rows = torch.zeros(32, 5).numpy()
    with pytest.raises(
        UpdateError, match=r"party 'bank': what party 'north' sent is float32 \[32, 5\], and float32 \[32, 4"
    ):
        bank.step(1, 0, rows)


def test_a_net_that_makes_images_is_refused(tmp_path):
    net = rc.models.Module("torch.nn:Unflatten", {"dim": 1, "unflattened_size": (1, 1, 3)})
    with pytest.raises(ModelError, match="nothing in Unflatten learns"):
        live(tmp_path, net=net).open()
    images = Arrays({"ID": np.arange(4), "features": np.zeros((4, 1, 4, 4))})
    net = rc.models.Module("torch.nn:Conv2d", {"in_channels": 1, "out_channels": 1, "kernel_size": 1})
    with pytest.raises(ModelError, match=r"party 'north': its net makes float32 \[2, 1, 4, 4\], not float32 \[b, w\]"):
        live(tmp_path, net=net, source=images).open()
