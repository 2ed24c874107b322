"""The least that any Python program must do: list a folder and process what is in it, one after the other.

    python bare_loop.py INBOX OUT --work logs|events|csv

No watching, no threads, no syncs, no records of what was done: the yardstick of the disk and the language.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time

ROUTES = {"ERROR": "errors", "WARN": "warnings"}
FOLDERS = ("errors", "warnings", "rest")


def logs(path: str, name: str, out: str) -> None:
    """Drop DEBUG lines, upper-case the rest."""
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    made = os.path.join(out, f".{name}.tmp")
    with open(made, "wb") as output:
        output.write(b"".join(line.upper() for line in lines if line.split(b" ", 2)[1] != b"DEBUG"))
    os.rename(made, os.path.join(out, name))
    os.unlink(path)


def events(path: str, name: str, out: str) -> None:
    """One derived field, three outputs."""
    made = {folder: os.path.join(out, folder, f".{name}.tmp") for folder in FOLDERS}
    outputs = {folder: open(path, "w", encoding="utf-8") for folder, path in made.items()}  # noqa: SIM115
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            event["slow"] = event["latency_ms"] >= 1000
            text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
            outputs[ROUTES.get(event["level"], "rest")].write(text + "\n")
    for folder, output in outputs.items():
        output.close()
        os.rename(made[folder], os.path.join(out, folder, name))
    os.unlink(path)


def rows(path: str, name: str, out: str) -> None:
    """The same from CSV."""
    made = {folder: os.path.join(out, folder, f".{name}.tmp") for folder in FOLDERS}
    outputs = {
        folder: open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        for folder, path in made.items()
    }
    writers = {folder: csv.writer(file, lineterminator="\n") for folder, file in outputs.items()}
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        level, latency = header.index("level"), header.index("latency_ms")
        for writer in writers.values():
            writer.writerow([*header, "slow"])
        for row in reader:
            row.append("true" if int(row[latency]) >= 1000 else "false")
            writers[ROUTES.get(row[level], "rest")].writerow(row)
    for folder, output in outputs.items():
        output.close()
        os.rename(made[folder], os.path.join(out, folder, name))
    os.unlink(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("inbox")
    parser.add_argument("out")
    parser.add_argument("--work", choices=("logs", "events", "csv"), required=True)
    arguments = parser.parse_args()
    if arguments.work != "logs":
        for folder in FOLDERS:
            os.makedirs(os.path.join(arguments.out, folder), exist_ok=True)
    work = {"logs": logs, "events": events, "csv": rows}[arguments.work]
    print("Ready", flush=True)
    while True:
        for name in sorted(os.listdir(arguments.inbox)):
            work(os.path.join(arguments.inbox, name), name, arguments.out)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
