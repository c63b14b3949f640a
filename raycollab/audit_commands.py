"""What the command line does with ledgers and keys: verify, hand out receipts, make keys."""

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

OPTIONS = ("--no-recompute",)


def add_commands(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `audit` and `keys`, each with commands of its own; `add` makes one of a name, an action and its help."""
    audit = commands.add_parser("audit", help="hold a run against its ledger; hand out a party's receipts")
    audits = audit.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verify = add("verify", _verify, "check a run's ledger, signatures and checkpoints, byte by byte", among=audits)
    verify.add_argument("run", help="run folder")
    verify.add_argument("--no-recompute", action="store_true", help="do not compute rounds again from kept updates")
    receipts = add("receipts", _receipts, "export what a party approved and sent, with its signatures", among=audits)
    receipts.add_argument("run", help="run folder")
    receipts.add_argument("--agent", required=True, help="the party")
    receipts.add_argument("--out", required=True, help="JSON file to write")
    check = add("check", _check, "check a party's exported receipts by themselves", among=audits)
    check.add_argument("file", help="file that `raycollab audit receipts` wrote")
    keys = commands.add_parser("keys", help="make keys that parties sign with")
    makes = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = add("new", _new, "make a key: NAME.key for the party's node, and the lines for the experiment", among=makes)
    new.add_argument("name", help="the party")
    new.add_argument("--out", default=".", help="folder to write it into (default: this one)")
    show = add("show", _show, "print the public key that belongs to a private one", among=makes)
    show.add_argument("file", help="the key's file")


def _verify(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    folder = import_module("raycollab.checkpoint").RunFolder.open(command.run)
    audit = import_module("raycollab.ledger.audit").audited(folder)
    findings = list(audit.findings)
    told = [
        f"ledger       {len(audit.lines):,} lines, {len(audit.rounds):,} rounds, head {audit.head}",
        f"signatures   {audit.signatures:,} hold" if audit.signatures else "signatures   nobody signs in this run",
        f"checkpoints  {', '.join(map(str, audit.checkpoints)) or 'none'}",
    ]
    if not findings and not command.no_recompute:
        told.append(f"recomputed   {_recomputed(command.run, folder, audit.rounds, findings)}")
    sys.stdout.write("\n".join(told) + "\n")
    for finding in findings:
        sys.stdout.write(f"FOUND  {finding}\n")
    sys.stdout.write("nothing was changed\n" if not findings else f"{len(findings)} found\n")
    return 1 if findings else 0


def _recomputed(path: str, folder: Any, rounds: Any, findings: list[Any]) -> str:
    """Compute again what can be; what is wrong is added to the findings."""
    errors = import_module("raycollab.errors")
    try:
        experiment = import_module("raycollab.experiment_file").read_run(path)
        again = import_module("raycollab.recomputing").Recomputing(experiment, folder, rounds)
    except errors.RaycollabError as error:
        return f"no round: {error}"
    if reason := again.reason_against():
        return f"no round: {reason}"
    for index in again.possible():
        findings += again.check(index)
    listed = ", ".join(map(str, again.possible()))
    return f"rounds {listed}: {'something is wrong' if findings else 'the same model, bit for bit'}"


def _receipts(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    folder = import_module("raycollab.checkpoint").RunFolder.open(command.run)
    audit = import_module("raycollab.ledger.audit").audited(folder)
    found = import_module("raycollab.ledger.receipts").receipts_of(audit, command.agent)
    Path(command.out).expanduser().write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    count = len(found["receipts"])
    sys.stdout.write(f"{count:,} receipts of {command.agent}; to check them: raycollab audit check {command.out}\n")
    for finding in audit.findings:
        sys.stdout.write(f"FOUND  {finding}\n")
    return 1 if audit.findings else 0


def _check(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    receipts = import_module("raycollab.ledger.receipts")
    good, findings = receipts.checked_receipts(receipts.read_receipts(command.file))
    for finding in findings:
        sys.stdout.write(f"FOUND  {finding}\n")
    sys.stdout.write(f"{good:,} signatures hold, {len(findings)} do not\n")
    return 1 if findings else 0


def _new(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    key = import_module("raycollab.keys").new_key(command.name, command.out)
    sys.stdout.write(
        f"{key.path} written: keep it on {command.name}'s node, readable by nobody else. In the experiment, of this "
        f"agent:\n\nkey: {{class_path: Key, init_args: {{path: {key.path}, public: {key.public}}}}}\n"
    )
    return 0


def _show(command: argparse.Namespace, overrides: list[str]) -> int:
    del overrides
    sys.stdout.write(f"{import_module('raycollab.keys').public_key(command.file)}\n")
    return 0
