"""DuckDB on the big file: read it into a temporary table once, copy three selections out.

python duckdb_copy.py INBOX OUT --work events|csv
"""

from __future__ import annotations

import duckdb
from work import Outputs, each_big_file, options

TYPES = {
    "ts": "VARCHAR",
    "level": "VARCHAR",
    "service": "VARCHAR",
    "host": "VARCHAR",
    "user_id": "BIGINT",
    "latency_ms": "BIGINT",
    "status": "BIGINT",
    "trace": "VARCHAR",
    "msg": "VARCHAR",
}
READ = {
    "events": "read_json(?, format = 'newline_delimited', columns = {columns})",
    "csv": "read_csv(?, header = true, columns = {columns})",
}
COPY = {"events": "(FORMAT json)", "csv": "(FORMAT csv, HEADER)"}
PARTS = {
    "errors": "level = 'ERROR'",
    "warnings": "level = 'WARN'",
    "rest": "level NOT IN ('ERROR', 'WARN')",
}


def main() -> None:
    arguments = options("events", "csv").parse_args()
    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in TYPES.items()) + "}"
    source = READ[arguments.work].replace("{columns}", columns)
    database = duckdb.connect()

    def work(path: str, outputs: Outputs) -> None:
        database.execute(
            f"CREATE TEMP TABLE event AS SELECT *, latency_ms >= 1000 AS slow FROM {source}", [path]
        )
        for folder, part in PARTS.items():
            made = outputs.made[folder].replace("'", "''")
            database.execute(
                f"COPY (SELECT * FROM event WHERE {part}) TO '{made}' {COPY[arguments.work]}"
            )
        database.execute("DROP TABLE event")

    each_big_file(arguments.inbox, arguments.out, work)


if __name__ == "__main__":
    main()
