"""Outputs encrypted for their reader: every format, compressed, whole and big files; it opens as it was written."""

import gzip
import io
import subprocess
import sys

import polars as pl
import pyrage

CONFIG = """
version: 1
chunk_size: 64KiB
sources: {{in: {{folder: in, tags: [x]}}}}
pipelines:
  rows: {{when: x, steps: [read_csv, write: [table, packed, plain]]}}
  files: {{when: x, steps: [write: raw]}}
sinks:
  table: {{folder: table, format: parquet, encrypt: [{0}, {1}]}}
  packed: {{folder: packed, compress: gz, encrypt: {0}}}
  raw: {{folder: raw, encrypt: {0}, mode: 0600}}
  plain: {{folder: plain}}
"""


def test_each_output_opens_for_its_readers_and_nobody_else(tmp_path):
    first, second = (pyrage.x25519.Identity.generate() for _ in range(2))
    (tmp_path / "in").mkdir()
    text = "id,n\n" + "".join(f"row {n},{n}\n" for n in range(200_000))
    (tmp_path / "in" / "big.csv").write_text(text)
    (tmp_path / "filemill.yaml").write_text(CONFIG.format(first.to_public(), second.to_public()))
    ended = subprocess.run(
        [sys.executable, "-m", "filemill", "run", "--once", "--no-web"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr

    def opened(path, identity):
        return pyrage.decrypt((tmp_path / path).read_bytes(), [identity])

    for identity in (first, second):
        frame = pl.read_parquet(io.BytesIO(opened("table/big.parquet.age", identity)))
        assert frame.height == 200_000
        assert frame["n"].sum() == sum(range(200_000))
    assert gzip.decompress(opened("packed/big.csv.gz.age", first)).decode() == text
    assert opened("raw/big.csv.age", first).decode() == text
    assert (tmp_path / "raw/big.csv.age").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "plain/big.csv").read_text() == text
    for sink in ("table", "packed", "raw"):
        assert list((tmp_path / sink / ".filemill").iterdir()) == []
