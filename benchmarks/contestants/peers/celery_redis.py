"""Celery with Redis: a watchdog observer sends a task a file, two worker processes do them.

    python celery_redis.py INBOX OUT --work logs [--durable]

Redis listens on a socket of its own and keeps its data beside the inbox. As shipped a task is acknowledged before
it is done, and Redis saves now and then. `--durable`: acknowledged after the output is synced, Redis appends and syncs
each command, and what lies in the inbox at the start is sent again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from work import options


class Sender(FileSystemEventHandler):
    """Sends each file that is renamed into the inbox."""

    def __init__(self) -> None:
        from celery_tasks import process

        self.process = process

    def on_created(self, event: FileSystemEvent) -> None:
        if not event.is_directory:
            self.process.delay(os.fsdecode(event.src_path))


def main() -> None:
    parser = options("logs")
    parser.add_argument("--durable", action="store_true")
    arguments = parser.parse_args()
    inbox = os.path.abspath(arguments.inbox)
    folder = tempfile.mkdtemp(prefix="redis-", dir="/tmp")  # the path of a socket must be short
    broker = os.path.join(folder, "redis.sock")
    data = os.path.join(os.path.dirname(inbox), "redis")
    os.makedirs(data)
    os.environ |= {
        "BENCH_BROKER": f"redis+socket://{broker}",
        "BENCH_OUT": os.path.abspath(arguments.out),
        "BENCH_DURABLE": "1" if arguments.durable else "0",
    }
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    redis = ["redis-server", "--port", "0", "--unixsocket", broker, "--dir", data]
    if arguments.durable:
        redis += ["--appendonly", "yes", "--appendfsync", "always"]
    server = subprocess.Popen(redis, stdout=subprocess.DEVNULL)
    while not os.path.exists(broker):
        if server.poll() is not None:
            sys.exit("redis-server did not start")
        time.sleep(0.01)
    sender = Sender()
    observer = Observer()
    observer.schedule(sender, inbox)
    observer.start()
    if arguments.durable:
        for name in os.listdir(inbox):
            sender.process.delay(os.path.join(inbox, name))
    here = os.path.dirname(os.path.abspath(__file__))
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--concurrency", "2"]
        + ["--loglevel", "WARNING"],
        env=os.environ | {"PYTHONPATH": here},
    )
    stop.wait()
    observer.stop()
    worker.terminate()
    worker.wait()
    server.terminate()
    server.wait()
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    os.rmdir(folder)


if __name__ == "__main__":
    main()
