"""A benchmark must not praise a program that loses files: what the verifiers catch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workloads import (
    FOLDERS,
    ROUTES,
    EventsVerifier,
    log_files,
    right_log,
    verify_logs,
    write_events,
)

COUNT = 20


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name, content in log_files(COUNT):
        (tmp_path / name).write_bytes(right_log(content))
    return tmp_path


def test_log_files_are_the_same_on_every_call_and_no_two_alike() -> None:
    first, second = list(log_files(COUNT)), list(log_files(COUNT))
    assert first == second
    assert len({content for _, content in first}) == COUNT
    assert all(3500 < len(content) < 4700 for _, content in first)


def test_right_outputs_pass(out: Path) -> None:
    assert verify_logs(out, COUNT) == []


def test_a_lost_a_wrong_and_a_second_output_are_named(out: Path) -> None:
    (out / "app-000003.log").unlink()
    (out / "app-000004.log").write_bytes(b"")
    (out / "app-000005-2.log").write_bytes((out / "app-000005.log").read_bytes())
    assert verify_logs(out, COUNT) == ["1 outputs lost", "1 outputs wrong", "1 outputs too many"]


def lines_of(path: Path) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {folder: [] for folder in FOLDERS}
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        event = json.loads(line)
        slow = json.dumps(event["latency_ms"] >= 1000)
        made[ROUTES.get(event["level"], "rest")].append(line.rstrip()[:-1] + f',"slow":{slow}}}\n')
    return made


@pytest.mark.parametrize("damage", ["none", "lost", "swapped", "changed", "doubled", "unsure"])
def test_every_record_of_the_big_file_is_looked_at(tmp_path: Path, damage: str) -> None:
    big = write_events(tmp_path / "events.jsonl", 100_000)
    assert 200 < big.bytes / big.records < 260
    lines = lines_of(big.path)
    rest = lines["rest"]
    match damage:
        case "lost":
            del rest[-1]
        case "swapped":
            rest[5], rest[6] = rest[6], rest[5]
        case "changed":
            rest[7] = rest[7].replace('"status":', '"status":1')
        case "doubled":
            rest.append(rest[-1])
        case "unsure":
            rest[8] = rest[8].replace('"slow":', '"slower":')
    outputs = {folder: tmp_path / folder for folder in FOLDERS}
    for folder, path in outputs.items():
        path.write_text("".join(lines[folder]), encoding="utf-8")
    verifier = EventsVerifier(big)
    assert bool(verifier.verify("x", outputs)) == (damage != "none")
    outputs["errors"].unlink()
    assert verifier.verify("x", outputs) == ["output errors lost"]


def test_a_later_round_with_other_bytes_is_read_again(tmp_path: Path) -> None:
    big = write_events(tmp_path / "events.jsonl", 100_000)
    outputs = {folder: tmp_path / folder for folder in FOLDERS}
    for folder, lines in lines_of(big.path).items():
        outputs[folder].write_text("".join(lines), encoding="utf-8")
    verifier = EventsVerifier(big)
    assert verifier.verify("x", outputs) == verifier.verify("x", outputs) == []
    text = outputs["rest"].read_text(encoding="utf-8")
    outputs["rest"].write_text(text.replace('"slow":true', '"slow":false', 1), encoding="utf-8")
    assert verifier.verify("x", outputs)
