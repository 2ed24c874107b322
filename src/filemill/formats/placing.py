"""Finding records in a block natively, and saying of each which file it is of, and where in it."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Sequence

import msgspec
import polars as pl

from filemill.model.runs import BadRecord

_STRAY = re.compile("[\udc80-\udcff]")
_WHOLE = 1 << 20
"""From here on Polars' own readers pay for their fixed cost (0.4 ms): `read_lines` splits 4 GB/s without a copy."""
_FEW = 32 << 10
"""Up to so many bytes Python splits and counts faster than Polars is asked to: each of its calls costs 20 to 50 us."""
_NOT_TEXT = (b"\xef\xbb\xbf", b"x", b"\x1f\x8b", b"(\xb5")
"""What those readers take for the mark of a file (UTF-8, zlib such as `x^`, gzip, zstd), not for a record's text."""


class Piece(msgspec.Struct, frozen=True):
    """A stretch of a block: `size` bytes of one file from byte `start`, whose first record is `record` on `line`."""

    order: int
    start: int
    line: int
    record: int
    size: int


class Placed(msgspec.Struct):
    """Records with their places. `bad` ones are no longer in the frame; `records` counts both, by order."""

    frame: pl.DataFrame
    bad: list[tuple[int, BadRecord]]
    records: dict[int, int]
    blank: dict[int, int]
    lines: int = 0
    """Physical lines the block's consumed bytes have."""
    block: bytes | None = None
    """The bytes the records were found in, while the frame still holds all of them but blank lines."""
    returns: bool = True
    """False when no record ends in a CR."""

    def drop(self, mask: pl.Series, error: str, message: str | Sequence[str]) -> None:
        """Make the masked records bad; a list of messages goes with the masked rows in order."""
        if not mask.any():
            return
        self.block = None
        rows = self.frame.filter(mask)
        self.frame = self.frame.filter(~mask)
        ends = rows.get_column("_raw").str.strip_suffix("\r").str.len_bytes()
        places = rows.select("_file", "_record", "_line", "_start").rows()
        for i, ((order, record, line, start), size) in enumerate(zip(places, ends, strict=True)):
            text = message if isinstance(message, str) else message[i]
            bad = BadRecord("", record, line, start, start + size, error, text)
            self.bad.append((order, bad))

    def refuse(self, wrong: Sequence[tuple[int, int]], pieces: Sequence[Piece]) -> None:
        """Make the records bad that hold one of these (offset in the block, byte)."""
        by_order: dict[int, list[tuple[int, int]]] = {}
        at, offset = 0, 0
        for piece in pieces:
            while at < len(wrong) and wrong[at][0] < offset + piece.size:
                place = (wrong[at][0] - offset + piece.start, wrong[at][1])
                by_order.setdefault(piece.order, []).append(place)
                at += 1
            offset += piece.size
        for order, places in by_order.items():
            self._refuse(order, places)

    def _refuse(self, order: int, places: Sequence[tuple[int, int]]) -> None:
        mine = self.frame.filter(pl.col("_file") == order)
        starts = mine.get_column("_start").to_list()
        sizes = mine.get_column("_raw").str.len_bytes().to_list()
        records = mine.get_column("_record").to_list()
        first: dict[int, str] = {}
        row = 0
        for place, byte in places:
            while row + 1 < len(starts) and starts[row + 1] <= place:
                row += 1
            if row < len(starts) and starts[row] <= place < starts[row] + sizes[row]:
                first.setdefault(
                    records[row],
                    f"byte {byte:#04x} at {place} is not UTF-8; add `transcode` if the file is not",
                )
        mask = (self.frame.get_column("_file") == order) & self.frame.get_column("_record").is_in(
            list(first)
        )
        self.drop(mask, "Encoding", list(first.values()))


def sanitize(block: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """A copy of the block in which every byte that is not UTF-8 is a `?`, and where those were: (offset, byte).

    Offsets stay, and neither quotes nor line endings are touched, so the copy splits as the block does.
    """
    text = block.decode("utf-8", "surrogateescape")
    wrong: list[tuple[int, int]] = []
    at = offset = 0
    for match in _STRAY.finditer(text):
        offset += len(text[at : match.start()].encode("utf-8"))
        wrong.append((offset, ord(match.group()) - 0xDC00))
        offset += 1
        at = match.end()
    return _STRAY.sub("?", text).encode(), wrong


def reads_whole(block: bytes) -> bool:
    """Say whether Polars' own readers are fast on this block and take every byte of it for text."""
    return len(block) >= _WHOLE and not block.startswith(_NOT_TEXT)


def split_lines(block: bytes) -> pl.Series:
    """The lines of a block that ends in LF, as texts without it; a CR before it stays.

    Raises:
        polars.exceptions.ComputeError: the block is not UTF-8.
    """
    if reads_whole(block) and b"\r" not in block:
        return pl.read_lines(block, name="_raw").to_series()
    if len(block) <= _FEW:
        with contextlib.suppress(UnicodeDecodeError):  # Polars says it in the words that are caught
            return pl.Series("_raw", block[:-1].decode().split("\n"), dtype=pl.String)
    whole = pl.Series("_raw", [block[:-1]], dtype=pl.Binary).cast(pl.String)
    return whole.str.split("\n").explode()


def place(
    lines: pl.Series, block: bytes, pieces: Sequence[Piece]
) -> tuple[pl.DataFrame, list[int]]:
    """Every line as a record with its place, and each piece's number of them."""
    if len(pieces) == 1 and len(block) <= _FEW:
        return _place_few(lines, block, pieces[0]), [len(lines)]
    # One select, because each costs 50 us, however small the block.
    size = pl.col("_raw").str.len_bytes().cast(pl.Int64) + 1
    start = size.cum_sum() - size
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    if len(pieces) == 1:
        (piece,) = pieces
        frame = lines.to_frame().select(
            pl.col("_raw"),
            pl.lit(piece.order, dtype=pl.UInt32).alias("_file"),
            (number + piece.record).alias("_record"),
            (number + piece.line).alias("_line"),
            (start + piece.start).alias("_start"),
        )
        return frame, [frame.height]
    counts: list[int] = []
    files, records, firsts, offsets = [], [], [], []
    offset = first = 0
    for piece in pieces:
        count = block.count(b"\n", offset, offset + piece.size)
        counts.append(count)
        files.append(piece.order)
        records.append(piece.record - first)
        firsts.append(piece.line - first)
        offsets.append(piece.start - offset)
        offset += piece.size
        first += count
    base = _repeated({"f": files, "r": records, "l": firsts, "s": offsets}, counts)
    frame = base.with_columns(lines).select(
        pl.col("_raw"),
        pl.col("f").cast(pl.UInt32).alias("_file"),
        (number + pl.col("r")).alias("_record"),
        (number + pl.col("l")).alias("_line"),
        (start + pl.col("s")).alias("_start"),
    )
    return frame, counts


def _place_few(lines: pl.Series, block: bytes, piece: Piece) -> pl.DataFrame:
    """The lines of one small file with their places."""
    count = len(lines)
    sizes = (len(line) + 1 for line in block.split(b"\n"))
    starts = itertools.islice(itertools.accumulate(sizes, initial=piece.start), count)
    return pl.DataFrame(
        [
            lines,
            pl.Series("_file", [piece.order], dtype=pl.UInt32).new_from_index(0, count),
            pl.Series("_record", range(piece.record, piece.record + count), dtype=pl.Int64),
            pl.Series("_line", range(piece.line, piece.line + count), dtype=pl.Int64),
            pl.Series("_start", list(starts), dtype=pl.Int64),
        ]
    )


def _repeated(columns: dict[str, list[int]], counts: Sequence[int]) -> pl.DataFrame:
    """Each row of these columns as often as its count says."""
    frame = pl.DataFrame({**columns, "n": counts}, schema=dict.fromkeys((*columns, "n"), pl.Int64))
    return frame.select(pl.col(*columns).repeat_by("n").explode())


def number_records(
    frame: pl.DataFrame, pieces: Sequence[Piece]
) -> tuple[pl.DataFrame, dict[int, int]]:
    """The frame with its records numbered anew, after some lines turned out to be none, and each file's count."""
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    if len(pieces) == 1:
        (piece,) = pieces
        found = {piece.order: frame.height} if frame.height else {}
        return frame.with_columns((number + piece.record).alias("_record")), found
    runs = frame.get_column("_file").rle().struct
    found = dict(zip(runs.field("value"), runs.field("len"), strict=True))
    begin = {piece.order: piece.record for piece in pieces}
    bases, first = [], 0
    for order, count in found.items():
        bases.append(begin[order] - first)
        first += count
    base = _repeated({"b": bases}, list(found.values())).to_series()
    return frame.with_columns((number + base).alias("_record")), found


def place_lines(
    block: bytes, pieces: Sequence[Piece], max_record: int, *, blank: str | None, plain: str = ""
) -> Placed:
    """One record a line. `blank` is a pattern of lines that are no records (None: an empty line is one).

    `plain`: no line that begins with it is blank.
    """
    lines = split_lines(block)
    frame, counts = place(lines, block, pieces)
    placed = without_blank(frame, counts, pieces, blank, plain)
    placed.block = block
    placed.returns = b"\r" in block
    too_long(placed, max_record)
    return placed


def without_blank(
    frame: pl.DataFrame,
    counts: Sequence[int],
    pieces: Sequence[Piece],
    blank: str | None,
    plain: str = "",
) -> Placed:
    """Placed records of placed lines: blank ones counted and gone."""
    raw = pl.col("_raw")
    skipped: dict[int, int] = {}
    if blank is not None and not _none_blank(frame, pieces, plain):
        is_blank = raw.str.contains(blank)
        files = frame.filter(is_blank).get_column("_file")
        if len(files):
            runs = files.rle().struct
            skipped = dict(zip(runs.field("value"), runs.field("len"), strict=True))
            frame, found = number_records(frame.filter(~is_blank), pieces)
            return Placed(frame, [], found, skipped, sum(counts))
    found = {p.order: n for p, n in zip(pieces, counts, strict=True) if n}
    return Placed(frame, [], found, skipped, sum(counts))


def _none_blank(frame: pl.DataFrame, pieces: Sequence[Piece], plain: str) -> bool:
    """Say whether it is sure, without a pattern, that no line is blank."""
    if sum(piece.size for piece in pieces) <= _FEW:
        texts = frame.get_column("_raw").to_list()
        if plain:
            return all(text.startswith(plain) for text in texts)
        return min(map(len, texts), default=2) > 1
    raw = pl.col("_raw")
    sure = raw.str.starts_with(plain).all() if plain else (raw.str.len_bytes() > 1).all()
    return bool(frame.select(sure).item())


def too_long(placed: Placed, max_record: int) -> None:
    """Make records of more than `max_record` bytes bad."""
    if placed.block is not None and len(placed.block) <= max_record:
        return
    if not (placed.frame.get_column("_raw").str.len_bytes() > max_record).any():
        return
    over = placed.frame.get_column("_raw").str.strip_suffix("\r").str.len_bytes() > max_record
    placed.drop(over, "TooLong", f"longer than max_record ({max_record} bytes)")
