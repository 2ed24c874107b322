"""What is processed: seeded log files and one big file of JSON lines, and the check that outputs are right.

Every contestant does the same work:

- W1 and W3, log files of 4 KB: tag the DEBUG lines and drop them, upper-case the others, write one output
  with the name of its input.
- W2, one file of JSON lines: add `slow = latency_ms >= 1000`, route by `level` to three outputs.

Verification is part of a run. An output that is missing, double or wrong is reported beside the number.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

SEED = 20_260_101
LOG_BYTES = 4096
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
WEIGHTS = (10, 70, 15, 5)
ROUTES = {"ERROR": "errors", "WARN": "warnings"}
"""W2: level to output folder; every other level goes to `rest`."""
FOLDERS = ("errors", "warnings", "rest")
SERVICES = ("checkout", "search", "billing", "login", "images", "mail")
PATHS = ("/orders", "/orders/items", "/search", "/login", "/invoices", "/images/thumb")


def log_files(count: int) -> Iterator[tuple[str, bytes]]:
    """`count` log files as (name, content), each of about LOG_BYTES and no two alike; the same on every call."""
    chance = random.Random(SEED)
    pool = [_log_line(chance) for _ in range(5000)]
    width = sum(map(len, pool)) // len(pool)
    for number in range(count):
        lines = chance.choices(pool, k=LOG_BYTES // width - 1)
        first = f"2026-03-01T12:00:00.000Z INFO logger file {number:06d} opened\n"
        yield f"app-{number:06d}.log", (first + "".join(lines)).encode()


def _log_line(chance: random.Random) -> str:
    [level] = chance.choices(LEVELS, WEIGHTS)
    return (
        f"2026-03-01T12:{chance.randrange(60):02d}:{chance.randrange(60):02d}.{chance.randrange(1000):03d}Z {level} "
        f"{chance.choice(SERVICES)} host-{chance.randrange(40):02d} request {chance.getrandbits(32):08x} "
        f"GET {chance.choice(PATHS)} {chance.choice((200, 200, 200, 304, 404, 500))} in {chance.randrange(3000)} ms\n"
    )


def right_log(content: bytes) -> bytes:
    """The one right output of a log file."""
    return b"".join(
        line.upper() for line in content.splitlines(keepends=True) if b" DEBUG " not in line
    )


def verify_logs(out: Path, count: int) -> list[str]:
    """What is wrong with the outputs of `log_files(count)`; empty when all is right."""
    found = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    missing = wrong = 0
    for name, content in log_files(count):
        if name not in found:
            missing += 1
            continue
        found.discard(name)
        wrong += (out / name).read_bytes() != right_log(content)
    counted = {"lost": missing, "wrong": wrong, "too many": len(found)}
    return [f"{number:,} outputs {word}" for word, number in counted.items() if number]


class Event(msgspec.Struct):
    """One record of the big file."""

    ts: str
    level: str
    service: str
    host: str
    user_id: int
    latency_ms: int
    status: int
    trace: str
    msg: str


class Judged(Event):
    """One record of an output."""

    slow: bool


@dataclass(frozen=True)
class BigFile:
    """The big file as it was written."""

    path: Path
    bytes: int
    records: int


def write_events(path: Path, size: int) -> BigFile:
    """Write JSON lines of about 235 bytes each until `size` bytes are reached; the same for one size.

    What a record says comes from a pool of 20,000; its time, user, latency and trace are its own.
    """
    chance = random.Random(SEED)
    pool = [_event_parts(chance) for _ in range(20_000)]
    written = records = 0
    with open(path, "wb", buffering=1 << 20) as file:
        while written < size:
            second = records // 5000
            clock = (
                f"2026-03-01T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
            )
            lines = "".join(
                f'{{"ts":"{clock}.{number // 5:03d}Z"{one}{chance.randrange(1_000_000)},"latency_ms":'
                f"{int(chance.expovariate(0.004)) + 1}{two}{chance.getrandbits(128):032x}{three}"
                for number, (one, two, three) in enumerate(chance.sample(pool, 5000))
            ).encode()
            file.write(lines)
            written += len(lines)
            records += 5000
    return BigFile(path, written, records)


def _event_parts(chance: random.Random) -> tuple[str, str, str]:
    """A record's text between its own values."""
    [level] = chance.choices(LEVELS, WEIGHTS)
    message = (
        f"{chance.choice(('GET', 'PUT', 'POST'))} {chance.choice(PATHS)}/{chance.randrange(100_000)} "
        + chance.choice(
            (
                "served from the cache",
                "caf\u00e9 order was stored",
                'the reply was \\"try later\\"',
                "took the slow path twice",
            )
        )
    )
    return (
        f',"level":"{level}","service":"{chance.choice(SERVICES)}","host":"eu-web-host-{chance.randrange(40):02d}","user_id":',
        f',"status":{chance.choice((200, 200, 200, 304, 404, 500))},"trace":"',
        f'","msg":"{message}"}}\n',
    )


class EventsVerifier:
    """Judges outputs of the big file: record by record the first time, then by digest.

    A contestant's outputs are the same bytes in every round, so its later rounds are compared with the
    round that was read in full.
    """

    def __init__(self, big: BigFile) -> None:
        self.big = big
        self._right: dict[str, list[str]] = {}

    def verify(self, contestant: str, outputs: dict[str, Path]) -> list[str]:
        """What is wrong with the outputs, given by folder name; empty when all is right."""
        missing = [f"output {name} lost" for name, path in outputs.items() if not path.exists()]
        if missing:
            return missing
        digests = [_digest(outputs[name]) for name in FOLDERS]
        if self._right.get(contestant) == digests:
            return []
        problems = self._read(outputs)
        if not problems:
            self._right[contestant] = digests
        return problems

    def _read(self, outputs: dict[str, Path]) -> list[str]:
        """Every record is in its output, in the order of the input, with all its fields and the right `slow`."""
        given, made = msgspec.json.Decoder(Event), msgspec.json.Decoder(Judged)
        with ExitStack() as stack:
            source = stack.enter_context(open(self.big.path, "rb"))
            files = {name: stack.enter_context(open(outputs[name], "rb")) for name in FOLDERS}
            for number, line in enumerate(source):
                event = given.decode(line)
                folder = ROUTES.get(event.level, "rest")
                text = files[folder].readline()
                if not text:
                    return [f"record {number:,} and what follows is lost from {folder}"]
                try:
                    judged = made.decode(text)
                except msgspec.DecodeError as error:
                    return [f"record {number:,} in {folder} is not right: {error}"]
                right = Judged(**msgspec.structs.asdict(event), slow=event.latency_ms >= 1000)
                if judged != right:
                    return [f"record {number:,} in {folder} is {judged}, not {right}"]
            return [f"{name} holds records too many" for name in FOLDERS if files[name].readline()]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
