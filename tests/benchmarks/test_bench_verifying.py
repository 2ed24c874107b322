"""A benchmark must not praise a program that loses files: what the verifiers catch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from big_file import Verifier, write_csv, write_events
from workloads import FOLDERS, ROUTES, log_files, right_log, verify_logs

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
    verifier = Verifier(big)
    assert bool(verifier.verify("x", outputs)) == (damage != "none")
    outputs["errors"].unlink()
    assert verifier.verify("x", outputs) == ["output errors lost"]


def test_a_later_round_with_other_bytes_is_read_again(tmp_path: Path) -> None:
    big = write_events(tmp_path / "events.jsonl", 100_000)
    outputs = {folder: tmp_path / folder for folder in FOLDERS}
    for folder, lines in lines_of(big.path).items():
        outputs[folder].write_text("".join(lines), encoding="utf-8")
    verifier = Verifier(big)
    assert verifier.verify("x", outputs) == verifier.verify("x", outputs) == []
    text = outputs["rest"].read_text(encoding="utf-8")
    outputs["rest"].write_text(text.replace('"slow":true', '"slow":false', 1), encoding="utf-8")
    assert verifier.verify("x", outputs)


def test_other_spacing_is_right_and_another_order_only_where_it_is_allowed(tmp_path: Path) -> None:
    big = write_events(tmp_path / "events.jsonl", 100_000)
    outputs = {folder: tmp_path / folder for folder in FOLDERS}
    for folder, lines in lines_of(big.path).items():
        spaced = [json.dumps(json.loads(line)) + "\n" for line in lines]
        outputs[folder].write_text("".join(spaced), encoding="utf-8")
    assert Verifier(big).verify("x", outputs) == []
    for path in outputs.values():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(reversed(lines)), encoding="utf-8")
    assert Verifier(big).verify("x", outputs)
    assert Verifier(big).verify("x", outputs, ordered=False) == []
    text = outputs["errors"].read_text(encoding="utf-8")
    outputs["errors"].write_text(text.replace('"status": 200', '"status": 201', 1))
    assert Verifier(big).verify("x", outputs, ordered=False) == [
        "errors holds a record that is not right"
    ]
    outputs["errors"].write_text(text + text.splitlines(keepends=True)[0], encoding="utf-8")
    assert "errors holds" in Verifier(big).verify("x", outputs, ordered=False)[0]


@pytest.mark.parametrize("damage", ["none", "capitals", "header", "swapped", "changed", "lost"])
def test_the_csv_holds_the_same_and_is_looked_at_as_closely(tmp_path: Path, damage: str) -> None:
    big = write_csv(write_events(tmp_path / "events.jsonl", 100_000), tmp_path / "events.csv")
    header, *rows = big.path.read_text(encoding="utf-8").splitlines()
    assert len(rows) == big.records
    assert any('""try later""' in row for row in rows)
    made: dict[str, list[str]] = {folder: [header + ",slow"] for folder in FOLDERS}
    for row in rows:
        fields = row.split(",")
        slow = "true" if int(fields[5]) >= 1000 else "false"
        made[ROUTES.get(fields[1], "rest")].append(f"{row},{slow}")
    rest = made["rest"]
    match damage:
        case "capitals":
            rest[1:] = [
                row.replace(",true", ",True").replace(",false", ",False") for row in rest[1:]
            ]
        case "header":
            rest[0] = header
        case "swapped":
            rest[5], rest[6] = rest[6], rest[5]
        case "changed":
            rest[7] = rest[7].replace(",false", ",maybe").replace(",true", ",maybe")
        case "lost":
            del rest[-1]
    outputs = {folder: tmp_path / folder for folder in FOLDERS}
    for folder, path in outputs.items():
        path.write_text("\n".join(made[folder]) + "\n", encoding="utf-8")
    assert bool(Verifier(big).verify("x", outputs)) == (damage not in {"none", "capitals"})
