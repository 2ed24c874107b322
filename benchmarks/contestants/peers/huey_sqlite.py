"""huey with SQLite: a watchdog observer queues a task a file, two worker processes do them.

    python huey_sqlite.py INBOX OUT --work logs [--fsync]

A task leaves the queue before it is done. `--fsync`: SQLite syncs each commit, and outputs are synced.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from work import options


class Sender(FileSystemEventHandler):
    """Queues each file that is renamed into the inbox."""

    def __init__(self) -> None:
        from huey_tasks import process

        self.process = process

    def on_created(self, event: FileSystemEvent) -> None:
        if not event.is_directory:
            self.process(os.fsdecode(event.src_path))


def main() -> None:
    parser = options("logs")
    parser.add_argument("--fsync", action="store_true")
    arguments = parser.parse_args()
    inbox = os.path.abspath(arguments.inbox)
    os.environ |= {
        "BENCH_QUEUE": os.path.join(os.path.dirname(inbox), "huey.db"),
        "BENCH_OUT": os.path.abspath(arguments.out),
        "BENCH_FSYNC": "1" if arguments.fsync else "0",
    }
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    observer = Observer()
    observer.schedule(Sender(), inbox)
    observer.start()
    here = os.path.dirname(os.path.abspath(__file__))
    consumer = subprocess.Popen(
        [sys.executable, "-m", "huey.bin.huey_consumer", "huey_tasks.huey", "--quiet"]
        + ["--workers", "2", "--worker-type", "process", "--delay", "0.01", "--max-delay", "0.05"],
        env=os.environ | {"PYTHONPATH": here},
    )
    stop.wait()
    observer.stop()
    consumer.send_signal(signal.SIGINT)
    consumer.wait()


if __name__ == "__main__":
    main()
