"""Every check of one part against another, each with exactly what is said."""

from __future__ import annotations

import textwrap
from importlib.metadata import version

import pytest

GOOD = """\
version: 1
sources:
  in: {folder: inbox, tags: ["partner:{dir}"]}
tags:
  orders: {name: "*.csv"}
pipelines:
  orders:
    when: orders and not partner:test
    steps:
      - read_csv
      - write: out
sinks:
  out: {folder: out}
"""


def one(project, old: str, new: str, expected: str, **kwargs) -> None:
    """One change to a good configuration says exactly this, before its last line."""
    assert GOOD.count(old) == 1
    said = project.said(GOOD.replace(old, new), **kwargs).rpartition("\n")[0]
    assert said == textwrap.dedent(expected).strip("\n")


def test_the_good_one_is_good(project):
    assert project.said(GOOD) == "No problems found."


CASES = {
    "too little memory": (
        "version: 1\n",
        "version: 1\nworker_memory: 10MB\n",
        """
        error[bad-value]: 10MB is too little for a worker
          --> filemill.yaml:2:16
        2 | worker_memory: 10MB
          |                ^^^^
        help: write at least 256MiB, or 0 for no limit
        """,
    ),
    "unknown-step": (
        "      - read_csv\n",
        "      - read_cvs\n",
        """
        error[unknown-step]: no step `read_cvs` (pipeline orders, step 1)
          --> filemill.yaml:10:9
        10 |       - read_cvs
           |         ^^^^^^^^
        help: did you mean `read_csv`?  all steps: filemill steps ls
        """,
    ),
    "an unknown step like nothing": (
        "      - read_csv\n",
        "      - zzz\n",
        """
        error[unknown-step]: no step `zzz` (pipeline orders, step 1)
          --> filemill.yaml:10:9
        10 |       - zzz
           |         ^^^
        help: all steps: filemill steps ls
        """,
    ),
    "not installed is not unknown": (
        "      - read_csv\n",
        "      - read_csv\n      - enrich: {with: x.csv}\n",
        """
        error[not-installed]: step `enrich` is not installed (pipeline orders, step 2)
          --> filemill.yaml:11:9
        11 |       - enrich: {with: x.csv}
           |         ^^^^^^
        help: step `enrich` is not part of filemill VERSION, a later version brings it; what there is: filemill steps ls
        """,
    ),
    "a sink that is not installed": (
        "  out: {folder: out}",
        "  out: {sql: orders, url: {secret: PG_DSN}}",
        """
        error[not-installed]: sink `out` needs `sql`, which is not installed
          --> filemill.yaml:13:9
        13 |   out: {sql: orders, url: {secret: PG_DSN}}
           |         ^^^
        help: sink `sql` is not part of filemill VERSION, a later version brings it; what there is: filemill steps ls
        """,
    ),
    "dir-missing": (
        "folder: inbox,",
        "folder: inbox/partners,",
        """
        error[dir-missing]: source `in` watches inbox/partners, not found
          --> filemill.yaml:3:16
        3 |   in: {folder: inbox/partners, tags: ["partner:{dir}"]}
          |                ^^^^^^^^^^^^^^
        help: mkdir -p inbox/partners   or set create: true
        """,
    ),
    "unknown-sink": (
        "write: out",
        "write: [out, uot]",
        """
        error[unknown-sink]: no sink `uot` (pipeline orders, step 2)
          --> filemill.yaml:11:22
        11 |       - write: [out, uot]
           |                      ^^^
        help: did you mean `out`?
        """,
    ),
    "unknown-key of a source": (
        "inbox, tags",
        "inbox, setle: 2s, tags",
        """
        error[unknown-key]: no key `setle` (source in)
          --> filemill.yaml:3:23
        3 |   in: {folder: inbox, setle: 2s, tags: ["partner:{dir}"]}
          |                       ^^^^^
        help: did you mean `settle`?
        """,
    ),
    "unknown-key at the top": (
        "version: 1",
        "version: 1\nworker: 3",
        """
        error[unknown-key]: no key `worker` at the top of a configuration
          --> filemill.yaml:2:1
        2 | worker: 3
          | ^^^^^^
        help: did you mean `workers`?
        """,
    ),
    "unknown-kind": (
        "{folder: out}",
        "{floder: out}",
        """
        error[unknown-kind]: no kind of sink `floder` (sink out)
          --> filemill.yaml:13:9
        13 |   out: {floder: out}
           |         ^^^^^^
        help: did you mean `folder`?
        """,
    ),
    "two-kinds": (
        "{folder: out}",
        "{folder: out, sql: t}",
        """
        error[two-kinds]: sink `out` is both `folder` and `sql`
          --> filemill.yaml:13:22
        13 |   out: {folder: out, sql: t}
           |                      ^^^
        help: make it two sinks, or remove one key
        """,
    ),
    "a version": (
        "version: 1",
        "version: 2",
        """
        error[bad-value]: only `1` is possible here, not `2` (top level)
          --> filemill.yaml:1:10
        1 | version: 2
          |          ^
        help: write 1
        """,
    ),
    "a key within a section": (
        "version: 1",
        "version: 1\nweb: {tls: {cert: c.pem, keys: k.pem}}",
        """
        error[unknown-key]: no key `keys` (`web.tls`)
          --> filemill.yaml:2:26
        2 | web: {tls: {cert: c.pem, keys: k.pem}}
          |                          ^^^^
        help: did you mean `key`?
        """,
    ),
    "a duration without a unit": (
        "inbox, tags",
        "inbox, settle: 500, tags",
        """
        error[bad-value]: `500` is not a duration
          --> filemill.yaml:3:31
        3 |   in: {folder: inbox, settle: 500, tags: ["partner:{dir}"]}
          |                               ^^^
        help: write a number and a unit, such as 500ms, 10s, 5m, 2h, 30d or 1h30m
        """,
    ),
    "two step names in one item": (
        "      - write: out",
        '      - filter: "a > 0"\n        write: out',
        """
        error[two-steps]: two step names in one item: `filter` and `write` (pipeline orders, step 2)
          --> filemill.yaml:12:9
        12 |         write: out
           |         ^^^^^
        help: put `- ` before `write`
        """,
    ),
    "if among the options": (
        "      - read_csv\n",
        "      - read_csv\n      - derive:\n          slow: ms > 3\n          if: orders\n",
        """
        error[misplaced-key]: `if` stands among the options of `derive` (pipeline orders, step 2)
          --> filemill.yaml:13:11
        13 |           if: orders
           |           ^^
        help: start `if:` in the column of `derive:`
        """,
    ),
    "timeout among a user's options": (
        "      - read_csv\n",
        "      - read_csv\n      - steps.f: {rate: 2, timeout: 5m}\n",
        """
        error[misplaced-key]: `timeout` stands among the options of `steps.f` (pipeline orders, step 2)
          --> filemill.yaml:11:28
        11 |       - steps.f: {rate: 2, timeout: 5m}
           |                            ^^^^^^^
        help: start `timeout:` in the column of `steps.f:`
        """,
    ),
    "an option beside the step": (
        "      - read_csv\n",
        '      - read_csv:\n        separator: ";"\n',
        """
        error[unknown-key]: no key `separator` beside step `read_csv` (pipeline orders, step 1)
          --> filemill.yaml:11:9
        11 |         separator: ";"
           |         ^^^^^^^^^
        help: `separator` is an option of `read_csv`: indent it below
        """,
    ),
    "a condition as a map": (
        "      - read_csv\n",
        "      - read_csv\n      - filter: {country: 'DE'}\n",
        """
        error[bad-value]: a text is expected here, not a map (pipeline orders, step 2)
          --> filemill.yaml:11:17
        11 |       - filter: {country: 'DE'}
           |                 ^^^^^^^^^^^^^^^
        help: for a condition write "country = 'DE'"
        """,
    ),
    "a route without else": (
        "      - write: out",
        "      - route: {orders: out}",
        """
        error[route-no-else]: `route` has no `else` (pipeline orders, step 2)
          --> filemill.yaml:11:9
        11 |       - route: {orders: out}
           |         ^^^^^
        help: add `else: SINK`, or `else: drop` to count and drop the rest
        """,
    ),
    "a step after route": (
        "      - write: out",
        "      - route: {else: out}\n      - write: out",
        """
        error[after-route]: nothing reaches this step: `route` ends the pipeline (pipeline orders, step 3)
          --> filemill.yaml:12:9
        12 |       - write: out
           |         ^^^^^
        help: move it before `route`, or into a branch: {steps: [...], to: SINK}
        """,
    ),
    "records before a reader": (
        "      - read_csv\n",
        '      - filter: "a > 0"\n',
        """
        error[step-order]: `filter` takes records, but it is given the file (pipeline orders, step 1)
          --> filemill.yaml:10:9
        10 |       - filter: "a > 0"
           |         ^^^^^^
        help: put a reader before it: read_csv, read_jsonl or read_lines
        """,
    ),
    "two readers": (
        "      - read_csv\n",
        "      - read_csv\n      - read_lines\n",
        """
        error[step-order]: `read_lines` takes the file, but `read_csv` gives records (pipeline orders, step 2)
          --> filemill.yaml:11:9
        11 |       - read_lines
           |         ^^^^^^^^^^
        help: move it before the step that reads the file
        """,
    ),
    "no ending": (
        "      - write: out",
        '      - filter: "a > 0"',
        """
        error[no-ending]: pipeline `orders` ends in `filter`: its results go nowhere
          --> filemill.yaml:11:9
        11 |       - filter: "a > 0"
           |         ^^^^^^
        help: end it with `- write: SINK` or `- route: {TAG: SINK, else: SINK}`
        warning[unused-sink]: nothing is sent to the sink `out`
          --> filemill.yaml:13:3
        13 |   out: {folder: out}
           |   ^^^
        help: name it in `route` or `write`, or remove it
        """,
    ),
    "a guarded reader": (
        "      - read_csv\n",
        "      - read_csv:\n        if: orders\n",
        """
        error[bad-value]: a reader cannot have an `if:` (pipeline orders, step 1)
          --> filemill.yaml:11:9
        11 |         if: orders
           |         ^^
        help: let a pipeline of its own subscribe to the files that are to be read so
        """,
    ),
    "a tag nobody makes": (
        "when: orders and",
        "when: ordres and",
        """
        warning[unused-tag]: nothing uses the tag `orders`
          --> filemill.yaml:5:3
        5 |   orders: {name: "*.csv"}
          |   ^^^^^^
        help: did you mean `ordres`?
        warning[unmade-tag]: nothing makes the tag `ordres` (pipeline orders)
          --> filemill.yaml:8:11
        8 |     when: ordres and not partner:test
          |           ^^^^^^
        help: did you mean `orders`?
        """,
    ),
    "a record's tag in when": (
        "      - write: out",
        '      - tag_records: {vip: "a > 1"}\n      - write: out\n  more:\n    when: vip\n    steps: [write: out]',
        """
        warning[unmade-tag]: nothing makes the tag `vip` (pipeline more)
          --> filemill.yaml:14:11
        14 |     when: vip
           |           ^^^
        help: make a rule for it below `tags:`
        """,
    ),
    "a tag made too late": (
        "      - write: out",
        "      - derive: {a: b}\n        if: vip\n      - tag_records: {vip: a > 1}\n      - write: out",
        """
        warning[unmade-tag]: tag `vip` is made only by a later step (pipeline orders, step 2)
          --> filemill.yaml:12:13
        12 |         if: vip
           |             ^^^
        help: move the step that makes it up
        """,
    ),
    "a column in quotes": (
        "      - write: out",
        "      - tag_records: {country: 'DE'}\n      - route: {country: out, else: drop}",
        """
        warning[quoted-name]: `DE` is a column here, not a text: YAML took the quotes (pipeline orders, step 2)
          --> filemill.yaml:11:32
        11 |       - tag_records: {country: 'DE'}
           |                                ^^^^
        help: for a condition write "country = 'DE'", for a column DE without quotes
        """,
    ),
    "a misspelt key that is needed": (
        "    when: orders and",
        "    wen: orders and",
        """
        error[unknown-key]: no key `wen` (pipeline orders)
          --> filemill.yaml:8:5
        8 |     wen: orders and not partner:test
          |     ^^^
        help: did you mean `when`?
        """,
    ),
    "a key that is needed is not there": (
        "    when: orders and not partner:test\n",
        "",
        """
        error[missing-key]: pipeline orders needs `when`
          --> filemill.yaml:7:3
        7 |   orders:
          |   ^^^^^^
        help: write `when: ...`, which files: a tag expression
        """,
    ),
    "a bad expression of tags": (
        "when: orders and not partner:test",
        "when: orders && !bad",
        """
        error[tag-expression]: `and` or `or` is expected before `&&` (`when` of pipeline orders)
          --> filemill.yaml:8:18
        8 |     when: orders && !bad
          |                  ^
        help: join tags with `and`
        """,
    ),
    "a reserved tag": (
        "  orders: {name",
        '  not: {name: "*.x"}\n  orders: {name',
        """
        error[reserved-tag]: `not` is a reserved word and cannot be a tag
          --> filemill.yaml:5:3
        5 |   not: {name: "*.x"}
          |   ^
        help: rename it
        """,
    ),
    "a sink in a source": (
        "{folder: out}",
        "{folder: inbox/out}",
        """
        error[sink-in-source]: sink `out` writes into the folder that source `in` watches (filemill.yaml:3:16)
          --> filemill.yaml:13:17
        13 |   out: {folder: inbox/out}
           |                 ^^^^^^^^^
        help: its outputs would be taken as new files: put it outside
        """,
    ),
    "sources over each other": (
        "tags:\n",
        "  all: {folder: .}\ntags:\n",
        """
        error[overlapping-sources]: source `all` watches a folder around that of source `in` (filemill.yaml:3:16)
          --> filemill.yaml:4:17
        4 |   all: {folder: .}
          |                 ^
        help: a file would be taken twice: give each its own folder, or set recursive: false on the outer one
        error[sink-in-source]: sink `out` writes into the folder that source `all` watches (filemill.yaml:4:17)
          --> filemill.yaml:14:17
        14 |   out: {folder: out}
           |                 ^^^
        help: its outputs would be taken as new files: put it outside
        """,
    ),
    "a source in a sink": (
        "{folder: out}",
        "{folder: .}",
        """
        warning[source-in-sink]: source `in` watches a folder within that of sink `out` (filemill.yaml:13:17)
          --> filemill.yaml:3:16
        3 |   in: {folder: inbox, tags: ["partner:{dir}"]}
          |                ^^^^^
        help: an output with such a name would be taken as a new file: move one of them
        """,
    ),
    "data in a source": (
        "version: 1",
        "version: 1\ndata: inbox/data",
        """
        error[data-in-source]: the data directory inbox/data is inside the folder that source `in` watches
          --> filemill.yaml:4:16
        4 |   in: {folder: inbox, tags: ["partner:{dir}"]}
          |                ^^^^^
        help: put `data:` outside
        """,
    ),
    "a name that leaves its root": (
        "{folder: out}",
        '{folder: out, name: "../{name}"}',
        """
        error[bad-value]: `..` would leave the sink's folder
          --> filemill.yaml:13:28
        13 |   out: {folder: out, name: "../{name}"}
           |                            ^^^^^^^^^^^
        """,
    ),
    "steps without dashes": (
        "    steps:\n      - read_csv\n      - write: out\n",
        "    steps:\n      write: out\n",
        """
        error[bad-value]: `steps` is a list, not a map (pipeline orders)
          --> filemill.yaml:10:7
        10 |       write: out
           |       ^
        help: put `- ` before each step
        warning[unused-sink]: nothing is sent to the sink `out`
          --> filemill.yaml:12:3
        12 |   out: {folder: out}
           |   ^^^
        help: name it in `route` or `write`, or remove it
        """,
    ),
    "a missing secret": (
        "{folder: out}",
        "{folder: {secret: OUT}}",
        """
        error[secret-missing]: secret `OUT` is not set
          --> filemill.yaml:13:17
        13 |   out: {folder: {secret: OUT}}
           |                 ^^^^^^^^^^^^^
        help: set OUT, or OUT_FILE to a file that holds it
        """,
    ),
    "steps in a branch of a file": (
        "      - read_csv\n      - write: out",
        "      - route: {orders: {steps: [derive: {a: b}], to: out}, else: drop}",
        """
        error[step-order]: a branch with steps needs records, but nothing has read the file (pipeline orders, step 1)
          --> filemill.yaml:10:34
        10 |       - route: {orders: {steps: [derive: {a: b}], to: out}, else: drop}
           |                                  ^^^^^^
        help: put a reader before `route`: read_csv, read_jsonl or read_lines
        """,
    ),
    "a route in a branch": (
        "      - write: out",
        "      - route: {orders: {steps: [route: {else: out}], to: out}, else: drop}",
        """
        error[nested-route]: `route` cannot stand in a branch (pipeline orders, step 2, branch orders, step 1)
          --> filemill.yaml:11:34
        11 |       - route: {orders: {steps: [route: {else: out}], to: out}, else: drop}
           |                                  ^^^^^
        help: a branch ends in its `to`: make it a route of its own tags
        """,
    ),
    "the same id twice": (
        "      - write: out",
        "      - derive: {a: b}\n        id: x\n      - write: out\n        id: x",
        """
        error[duplicate-id]: two steps with the id `x` (pipeline orders)
          --> filemill.yaml:14:9
        14 |         id: x
           |         ^^
        help: rename one
        """,
    ),
    "an unknown source in a rule": (
        'name: "*.csv"',
        "source: inn",
        """
        error[unknown-source]: no source `inn` (tag orders)
          --> filemill.yaml:5:20
        5 |   orders: {source: inn}
          |                    ^^^
        help: did you mean `in`?
        """,
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), CASES.values(), ids=CASES.keys())
def test_a_mistake(project, old, new, expected):
    one(project, old, new, expected.replace("VERSION", version("filemill")))


def test_a_records_tag_in_when_of_its_own_pipeline(project):
    codes = project.said(
        GOOD.replace("when: orders and not partner:test", "when: vip or orders").replace(
            "      - write", '      - tag_records: {vip: "a > 1"}\n      - write'
        )
    )
    assert "`when` sees tags of files; `vip` is one of records (pipeline orders)" in codes


def test_all_errors_come_at_once(project):
    text = GOOD.replace("read_csv", "read_cvs").replace("write: out", "write: uot")
    text = text.replace("inbox,", "inbax,").replace("*.csv", '*.csv", heder: "x')
    said = project.said(text + "sinkz: {}\n")
    assert said.endswith("Found 5 errors and 1 warning. Nothing was started.")
    assert project.codes() == [
        "dir-missing",
        "unknown-key",
        "unknown-step",
        "unknown-sink",
        "unused-sink",
        "unknown-key",
    ]


def test_a_users_step_may_make_any_tag(project):
    text = GOOD.replace(
        "      - write: out", "      - steps.mark\n      - route: {whatever: out, else: drop}"
    )
    assert project.said(text) == "No problems found."


def test_a_source_of_a_missing_folder_may_make_it(project):
    assert project.said(GOOD.replace("inbox,", "inbax, create: true,")) == "No problems found."


def test_recursive_false_lets_sources_stand_within_each_other(project):
    (project.root / "inbox" / "deep").mkdir()
    text = GOOD.replace("inbox,", "inbox, recursive: false,")
    assert project.said(text.replace("tags:\n", "  b: {folder: inbox/deep}\ntags:\n")) == (
        "No problems found."
    )


def test_links_do_not_hide_an_overlap(project):
    (project.root / "link").symlink_to(project.root / "inbox")
    assert project.codes(GOOD.replace("{folder: out}", "{folder: link/x}")) == ["sink-in-source"]


def test_the_hidden_data_directory_may_be_in_a_source(project):
    (project.root / "x").mkdir()
    text = GOOD.replace("folder: inbox", "folder: x").replace("version: 1", "data: x/.filemill")
    assert project.said(text) == "No problems found."


def test_the_design_example_names_only_what_is_not_installed(project):
    (project.root / "inbox" / "partners").mkdir()
    (project.root / "schemas").mkdir()
    (project.root / "schemas" / "order.json").write_text('{"required": ["order_id"]}')
    codes = project.codes(
        """
        version: 1
        sources:
          partners: {folder: inbox/partners, tags: ["partner:{dir}"]}
          upload:   {http: /upload, max_size: 200MB, types: [text/csv, image/*], tags: ["from:upload"]}
        tags:                                   # every rule that matches adds its tag
          orders: {name: "*.csv", header: [order_id]}
          photo:  {mime: "image/*"}
        defaults:
          retry: {attempts: 5, min: 2s, max: 5m}
        pipelines:
          orders:
            when: orders and not partner:test
            steps:
              - read_csv
              - check: {schema: schemas/order.json, else_tag: bad}
              - tag_records: {vip: "amount > 10000"}        # SQL predicates
              - steps.add_vat: {rate: 0.2}                  # a Python function of the user's own
                if: not bad
              - route: {bad: rejects, vip: [crm, warehouse], else: warehouse}
          photos:
            when: photo
            steps: [strip_gps, {resize: {width: 1600}}, {write: photos}]
        sinks:
          warehouse: {sql: orders, url: {secret: PG_DSN}, key: order_id}
          crm:       {webhook: "https://crm.example/in", token: {secret: CRM}}
          photos:    {folder: out/photos, name: "{date}/{digest8}-{name}"}
          rejects:   {folder: out/rejects}
        unrouted: hold
        """
    )
    assert codes == ["not-installed"] * 4


def test_secrets_are_read_and_never_shown(project):
    (project.root / "pw").write_text("s3cret-folder\n")
    text = GOOD.replace("{folder: out}", "{folder: {secret: OUT}, format: {secret: FMT}}")
    environ = {"OUT_FILE": str(project.root / "pw"), "FMT": "s3cret-format"}
    said = project.said(text, environ=environ)
    assert "`***` is not csv" in said
    assert "s3cret" not in said
    loaded = project.load(environ=environ | {"FMT": "csv"})
    assert loaded.plan.sinks[0].options["folder"] == str(project.root / "s3cret-folder")
    assert "s3cret" not in loaded.text + repr(loaded.effective) + repr(loaded.warnings)
    assert {s.value for s in loaded.effective if s.path[:2] == ("sinks", "out")} >= {"***"}


def test_a_column_may_be_called_secret(project):
    text = GOOD.replace("      - write", "      - derive: {secret: AMOUNT}\n      - write")
    assert project.load(text).plan.pipelines[0].steps[1].options == {
        "columns": {"secret": "AMOUNT"}
    }
