"""The Celery application of celery_redis.py, which says in the environment where things are."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_ready
from work import logs, ready

DURABLE = os.environ["BENCH_DURABLE"] == "1"
OUT = os.environ["BENCH_OUT"]

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False
if DURABLE:
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True


@app.task
def process(path: str) -> None:
    if os.path.exists(path):  # with late acknowledgement a task may come a second time
        logs(path, os.path.basename(path), OUT, fsync=DURABLE)


@worker_ready.connect
def tell(**_: object) -> None:
    ready()
