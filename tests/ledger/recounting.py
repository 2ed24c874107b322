"""What the ledger's kept counts must be: everything counted anew, row by row."""

from __future__ import annotations

from collections import defaultdict

from filemill.model.states import FileState, RunState, file_state_of

LIVE = ("queued", "running", "publishing")


def recounted(db):
    """(kind, source, pipeline, place) -> (how many, bytes), of the rows themselves."""
    runs = defaultdict(list)
    counts = defaultdict(lambda: [0, 0])
    for file, source, pipeline, state, replays in db.execute(
        "SELECT file, source, pipeline, state, replays FROM run"
    ):
        runs[file].append(RunState(state))
        counts["run", source, pipeline, "live" if state in LIVE else state][0] += 1
        if replays is not None:
            counts["replay", source, pipeline, "replay"][0] += 1
    for no, source, state, size, freed in db.execute(
        "SELECT no, source, state, size, freed_ns FROM file WHERE state <> 'claiming'"
    ):
        word = file_state_of(FileState(state), runs[no])
        for kind in ("file", "stored")[: 1 if freed is not None else 2]:
            cell = counts[
                kind, source, "", {"inspected": "live"}.get(word, word) if kind == "file" else ""
            ]
            cell[0] += 1
            cell[1] += size
    return {key: tuple(cell) for key, cell in counts.items()}


def kept(db):
    """The same, as the ledger keeps it; what is zero is left out."""
    counts = defaultdict(lambda: [0, 0])

    def add(key, count, size):
        counts[key][0] += count
        counts[key][1] += size

    for kind, source, pipeline, before, after, count, size in db.execute("SELECT * FROM standing"):
        if kind == "freed":
            add(("stored", source, "", ""), -count, -size)
            continue
        if after:
            add((kind, source, pipeline, after), count, size)
        if before:
            add((kind, source, pipeline, before), -count, -size)
        elif kind == "file":
            add(("stored", source, "", ""), count, size)
    return {key: tuple(cell) for key, cell in counts.items() if cell != [0, 0]}
