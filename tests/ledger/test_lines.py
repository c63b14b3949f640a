"""Lines that follow from each other, and every way in which one of them can be changed."""

import json
import random

import pytest

from raycollab.ledger.lines import FIRST, canonical, line_of, read_lines

RECORDS = [
    {"kind": "run", "run": "f00d", "time": "2026-01-01"},
    {"kind": "round", "round": 1, "agents": {"north": {"used": 0.25, "sent": {"sha256": "ab", "norm": 1.5}}}},
    {"kind": "round", "round": 2, "agents": {"north": {"used": 0.75, "sent": {"sha256": "cd", "norm": None}}}},
    {"kind": "ended", "reason": "num_rounds=2", "agents": {}},
]


def written(records=RECORDS):
    prev, lines = FIRST, []
    for record in records:
        text, prev = line_of(record, prev)
        lines.append(text)
    return lines


def data(lines):
    return "".join(f"{line}\n" for line in lines).encode()


def found(lines):
    return [(finding.place, finding.field) for finding in read_lines(data(lines))[1]]


def test_whole_lines_come_back_as_they_were():
    lines, findings = read_lines(data(written()))
    assert findings == []
    assert [line.record for line in lines] == RECORDS
    assert [line.number for line in lines] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('"used":0.25', '"used":0.26', "agents.north.used"),
        ('"sha256":"ab"', '"sha256":"ac"', "agents.north.sent.sha256"),
        ('"norm":1.5', '"nurm":1.5', "agents.north.sent.nurm"),
        ('"round":1', '"round":7', "round"),
        ('"used":0.25', '"used":0.250', "used"),  # the same number, written otherwise
        ('"used":0.25', '"used":0x25', "used"),  # no JSON
        ('"kind":"round"', '"kind": "round"', "kind"),
        ('"kind":"round"', '"kind":"round","more":1', "record"),
    ],
)
def test_a_changed_field_is_named(before, after, field):
    lines = written()
    assert before in lines[1]
    lines[1] = lines[1].replace(before, after)
    assert found(lines) == [("line 2", field)]


@pytest.mark.parametrize("field", ["prev", "hash", "sums"])
def test_what_binds_a_line_is_named_too(field):
    lines = written()
    changed = json.loads(lines[2])
    changed[field] = ("1" if changed[field][0] == "0" else "0") + changed[field][1:]
    lines[2] = canonical(changed)
    assert found(lines) == [("line 3", field)]


def test_a_line_that_was_removed_added_moved_or_written_anew_is_found():
    """Whoever rewrites a line and its hash must rewrite all that follow, and the signatures in them."""
    lines = written()
    assert found([lines[0], *lines[2:]]) == [("line 2", "prev")]
    assert found([lines[0], lines[0], *lines[1:]]) == [("line 2", "prev")]
    assert found([lines[0], lines[2], lines[1], lines[3]])
    anew, _ = line_of({**RECORDS[1], "round": 9}, json.loads(lines[1])["prev"])
    assert found([lines[0], anew, *lines[2:]]) == [("line 3", "prev")]


def test_a_torn_end_is_named():
    text = data(written())[:-1]
    assert [str(finding) for finding in read_lines(text)[1]] == [
        "line 4: it has no end; if a kill or a full disk did it, `raycollab resume` cuts it off and goes on"
    ]


def test_any_byte_that_is_changed_is_found_in_its_line():
    """Every one of 400 random bytes, also in the last line, which nothing follows."""
    drawn, whole = random.Random(0), data(written())
    for _ in range(400):
        place = drawn.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << drawn.randrange(8)
        findings = read_lines(bytes(changed))[1]
        number = whole[:place].count(b"\n") + 1
        assert findings
        assert findings[0].place in (f"line {number}", f"line {number + 1}")
