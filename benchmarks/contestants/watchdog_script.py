"""The script that people write first: watchdog and a thread pool.

    python watchdog_script.py INBOX OUT --work logs|events [--fsync] [--move-to FOLDER]

It has no queue: what it has not yet done when it dies is forgotten, and what arrives while it is down is
never seen. It is written with care nevertheless: outputs appear under their name only when whole.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

ROUTES = {"ERROR": "errors", "WARN": "warnings"}
FOLDERS = ("errors", "warnings", "rest")


class Script(FileSystemEventHandler):
    """Hands each file that is renamed into the folder to a thread."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.out: str = arguments.out
        self.fsync: bool = arguments.fsync
        self.move_to: str | None = arguments.move_to
        self.work: Callable[[str, str], None] = {
            "logs": self.logs,
            "events": self.events,
        }[arguments.work]
        self.pool = ThreadPoolExecutor(os.cpu_count())

    def on_created(self, event: FileSystemEvent) -> None:
        if not event.is_directory:
            self.pool.submit(self.process, os.fsdecode(event.src_path))

    def process(self, path: str) -> None:
        name = os.path.basename(path)
        try:
            self.work(path, name)
            if self.move_to:
                os.replace(path, os.path.join(self.move_to, name))
        except Exception as error:  # noqa: BLE001 -- a thread pool would keep it to itself
            print(f"{name}: {error!r}", flush=True)

    def logs(self, path: str, name: str) -> None:
        """Tag each line by level, drop DEBUG, upper-case the rest."""
        kept = []
        with open(path, encoding="utf-8") as file:
            for line in file:
                tag = line.split(" ", 2)[1]
                if tag != "DEBUG":
                    kept.append(line.upper())
        made = os.path.join(self.out, f".{name}.tmp")
        with open(made, "w", encoding="utf-8") as output:
            output.writelines(kept)
        self.publish(made, self.out, name)

    def events(self, path: str, name: str) -> None:
        """One derived field, three outputs, with the json module."""
        made = {folder: os.path.join(self.out, folder, f".{name}.tmp") for folder in FOLDERS}
        outputs = {folder: open(path, "w", encoding="utf-8") for folder, path in made.items()}  # noqa: SIM115
        with open(path, encoding="utf-8") as file:
            for line in file:
                event = json.loads(line)
                event["slow"] = event["latency_ms"] >= 1000
                text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
                outputs[ROUTES.get(event["level"], "rest")].write(text + "\n")
        for folder, output in outputs.items():
            output.close()
            self.publish(made[folder], os.path.join(self.out, folder), name)

    def publish(self, made: str, folder: str, name: str) -> None:
        """Make an output appear; durable before that, where fsync was asked for."""
        if self.fsync:
            sync(made)
        os.replace(made, os.path.join(folder, name))
        if self.fsync:
            sync(folder)


def sync(path: str) -> None:
    """Force a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("inbox")
    parser.add_argument("out")
    parser.add_argument("--work", choices=("logs", "events"), required=True)
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--move-to", metavar="FOLDER", help="where inputs go that are done")
    arguments = parser.parse_args()
    if arguments.move_to:
        os.makedirs(arguments.move_to, exist_ok=True)
    if arguments.work != "logs":
        for folder in FOLDERS:
            os.makedirs(os.path.join(arguments.out, folder), exist_ok=True)
    script = Script(arguments)
    observer = Observer()
    observer.schedule(script, arguments.inbox)
    observer.start()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print("Ready", flush=True)
    stop.wait()
    observer.stop()
    script.pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    main()
