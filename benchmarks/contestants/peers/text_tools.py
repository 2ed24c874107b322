"""mawk or Miller on the big file, called by a loop that watches the folder.

    python text_tools.py INBOX OUT --work events|csv --tool mawk|miller

mawk knows nothing of JSON or of quotes in CSV: its programs fit this file alone (the first eight fields are never
quoted, and no other text looks like a field). Miller reads both formats properly.
"""

from __future__ import annotations

import subprocess

from work import Outputs, each_big_file, options

AWK_EVENTS = r"""
{
    match($0, /"latency_ms":[0-9]+/)
    slow = substr($0, RSTART + 13, RLENGTH - 13) + 0 >= 1000 ? "true" : "false"
    line = substr($0, 1, length($0) - 1) ",\"slow\":" slow "}"
    if (index($0, "\"level\":\"ERROR\"")) print line > errors
    else if (index($0, "\"level\":\"WARN\"")) print line > warnings
    else print line > rest
}
"""
AWK_CSV = r"""
BEGIN { FS = "," }
NR == 1 { print $0 ",slow" > errors; print $0 ",slow" > warnings; print $0 ",slow" > rest; next }
{
    line = $0 "," ($6 + 0 >= 1000 ? "true" : "false")
    if ($2 == "ERROR") print line > errors
    else if ($2 == "WARN") print line > warnings
    else print line > rest
}
"""
MILLER = """
$slow = $latency_ms >= 1000;
if ($level == "ERROR") {tee > "%(errors)s", $*}
elif ($level == "WARN") {tee > "%(warnings)s", $*}
else {tee > "%(rest)s", $*}
"""


def mawk(path: str, outputs: Outputs, *, csv: bool) -> list[str]:
    names = [word for folder, made in outputs.made.items() for word in ("-v", f"{folder}={made}")]
    return ["mawk", *names, AWK_CSV if csv else AWK_EVENTS, path]


def miller(path: str, outputs: Outputs, *, csv: bool) -> list[str]:
    form = ["--icsv", "--ocsv"] if csv else ["--ijsonl", "--ojsonl"]
    # -S and -A are gone since Miller 6: numbers come out as they went in.
    return ["mlr", *form, "--no-auto-flatten", "put", "-q", MILLER % outputs.made, path]


def main() -> None:
    parser = options("events", "csv")
    parser.add_argument("--tool", choices=("mawk", "miller"), required=True)
    arguments = parser.parse_args()
    tool = mawk if arguments.tool == "mawk" else miller

    def work(path: str, outputs: Outputs) -> None:
        subprocess.run(tool(path, outputs, csv=arguments.work == "csv"), check=True)

    each_big_file(arguments.inbox, arguments.out, work)


if __name__ == "__main__":
    main()
