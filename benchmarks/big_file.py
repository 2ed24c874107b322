"""The big file: records as JSON lines, the same as CSV, and the check that outputs are right.

The work of W2: add `slow = latency_ms >= 1000`, route by `level` to three outputs. What most contestants write is
the input's bytes with the new field behind them: such outputs are known by their digest. Others are read record by
record.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from workloads import FOLDERS, LEVELS, PATHS, ROUTES, SEED, SERVICES, WEIGHTS

Record = tuple[object, ...]


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


class Key(msgspec.Struct):
    """What the work looks at."""

    level: str
    latency_ms: int


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


def write_csv(events: BigFile, path: Path) -> BigFile:
    """The same records as CSV with a header line."""
    decoder = msgspec.json.Decoder(Event)
    with open(events.path, "rb") as source, open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Event.__struct_fields__)
        writer.writerows(msgspec.structs.astuple(decoder.decode(line)) for line in source)
    return BigFile(path, path.stat().st_size, events.records)


class Verifier:
    """Judges outputs of one big file: by digest where they are the bytes they would be if the field were put behind
    each record, else record by record, and in later rounds by the digest of what was read in full.
    """

    def __init__(self, big: BigFile) -> None:
        self.big = big
        self._csv = big.path.suffix == ".csv"
        self._digests: list[str] = []
        self._right: dict[str, list[str]] = {}

    def verify(
        self, contestant: str, outputs: dict[str, Path], *, ordered: bool = True
    ) -> list[str]:
        """What is wrong with the outputs, given by folder name; empty when all is right."""
        missing = [f"output {name} lost" for name, path in outputs.items() if not path.exists()]
        if missing:
            return missing
        if not self._digests:
            self._digests = self._digests_of_spliced()
        digests = [_digest(outputs[name]) for name in FOLDERS]
        if digests in (self._digests, self._right.get(contestant)):
            return []
        problems = self._in_order(outputs) if ordered else self._in_any_order(outputs)
        if not problems:
            self._right[contestant] = digests
        return problems

    def _digests_of_spliced(self) -> list[str]:
        made = {name: hashlib.sha256() for name in FOLDERS}
        pending: dict[str, list[bytes]] = {name: [] for name in FOLDERS}
        for number, (folder, line) in enumerate(self._spliced()):
            for name in (folder,) if folder else FOLDERS:
                pending[name].append(line)
            if number % 20_000 == 0:
                for name, lines in pending.items():
                    made[name].update(b"".join(lines))
                    lines.clear()
        for name, lines in pending.items():
            made[name].update(b"".join(lines))
        return [made[name].hexdigest() for name in FOLDERS]

    def _spliced(self) -> Iterator[tuple[str, bytes]]:
        """(folder, line of output) of each record; a header belongs to no folder, that is to all."""
        slow = {True: b"true", False: b"false"}
        with open(self.big.path, "rb") as file:
            if self._csv:
                yield "", file.readline()[:-1] + b",slow\n"
                for line in file:
                    _, level, _, _, _, latency, _ = line.split(b",", 6)
                    word = slow[int(latency) >= 1000]
                    yield ROUTES.get(level.decode(), "rest"), b"%b,%b\n" % (line[:-1], word)
            else:
                decoder = msgspec.json.Decoder(Key)
                for line in file:
                    key = decoder.decode(line)
                    word = slow[key.latency_ms >= 1000]
                    yield ROUTES.get(key.level, "rest"), b'%b,"slow":%b}\n' % (line[:-2], word)

    def _in_order(self, outputs: dict[str, Path]) -> list[str]:
        """Every record is in its output, in the order of the input, with all its fields and the right `slow`."""
        found = {name: self._judged(path) for name, path in outputs.items()}
        number = 0
        try:
            for number, (folder, right) in enumerate(self._rights()):
                record = next(found[folder], None)
                if record is None:
                    return [f"record {number:,} and what follows is lost from {folder}"]
                if record != right:
                    return [f"record {number:,} in {folder} is {record}, not {right}"]
            return [f"{name} holds records too many" for name in FOLDERS if next(found[name], None)]
        except (msgspec.DecodeError, ValueError) as error:
            return [f"an output is not right near record {number:,}: {error}"]

    def _in_any_order(self, outputs: dict[str, Path]) -> list[str]:
        """The same, wherever in its output a record is."""
        sums, counts = dict.fromkeys(FOLDERS, 0), dict.fromkeys(FOLDERS, 0)
        for folder, right in self._rights():
            sums[folder] += hash(right)
            counts[folder] += 1
        problems = []
        for name, path in outputs.items():
            try:
                hashes = [hash(record) for record in self._judged(path)]
            except (msgspec.DecodeError, ValueError) as error:
                return [f"{name} is not right: {error}"]
            if len(hashes) != counts[name]:
                problems.append(f"{name} holds {len(hashes):,} records, not {counts[name]:,}")
            elif sum(hashes) != sums[name]:
                problems.append(f"{name} holds a record that is not right")
        return problems

    def _rights(self) -> Iterator[tuple[str, Record]]:
        """(folder, record of an output) of each record of the input."""
        for event in self._events(self.big.path):
            folder = ROUTES.get(str(event[1]), "rest")
            yield folder, (*event, int(str(event[5])) >= 1000)

    def _events(self, path: Path) -> Iterator[Record]:
        if self._csv:
            yield from self._rows(path)
        else:
            decoder = msgspec.json.Decoder(Event)
            with open(path, "rb") as file:
                for line in file:
                    yield msgspec.structs.astuple(decoder.decode(line))

    def _judged(self, path: Path) -> Iterator[Record]:
        if self._csv:
            words = {"true": True, "false": False}
            for row in self._rows(path, "slow"):
                yield (*row[:-1], words.get(str(row[-1]).lower()))
        else:
            decoder = msgspec.json.Decoder(Judged)
            with open(path, "rb") as file:
                for line in file:
                    yield msgspec.structs.astuple(decoder.decode(line))

    @staticmethod
    def _rows(path: Path, *more: str) -> Iterator[Record]:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != [*Event.__struct_fields__, *more]:
                raise ValueError(f"{path} has another header")
            yield from map(tuple, reader)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
