"""filemill graph: every wire is drawn, in four forms, and no name can break out of its label."""

import json
import re
import subprocess

import pytest

from filemill.cli.graph.shapes import dot, mermaid
from filemill.cli.graph.wiring import Edge, Node, Wiring, meets

CONFIG = """\
version: 1
sources:
  partners: {folder: inbox, create: true, tags: ["partner:{dir}"]}
tags:
  orders: {name: "*.csv", header: [order_id]}
  bundle: {name: "*.zip"}
pipelines:
  orders:
    when: orders and not partner:test
    steps:
      - read_csv
      - tag_records: {vip: "amount > 10000", bad: "amount < 0"}
      - derive: {tax: "amount * 0.2"}
        if: not bad
      - write: raw
      - route:
          bad: rejects
          vip: [crm, warehouse]
          not vip: {steps: [{filter: "amount > 1"}], to: crm}
          else: drop
  bundles:
    when: bundle
    steps: [{unpack: {tags: [orders]}}, {write: raw}]
sinks:
  warehouse: {folder: out/w}
  crm: {folder: out/c}
  rejects: {folder: out/r}
  raw: {folder: out/raw}
"""
DRAWN = """\
SOURCE                   TAGS
partners  folder inbox   partner:{dir}

orders  when orders and not partner:test
│  ◀─ orders  name *.csv, header order_id
│  ◀─ orders  child of bundles > unpack
│  ◀─ partner:{dir}  from source partners
├─ read_csv
├─ tag_records  +vip +bad
├─ derive  if not bad
├─ write ─▶ raw
└─ route
   ├─ bad  ─▶ rejects
   ├─ vip  ─┬▶ crm
   │        └▶ warehouse
   ├─ not vip
   │  └─ filter ─▶ crm
   └─ else ─▶ drop

SINK
raw        folder out/raw
rejects    folder out/r
crm        folder out/c
warehouse  folder out/w
"""
HOSTILE = '"]; end -->|x| <script>alert(1)</script> `$(id)` \\ #quot; \x1b[2J\nsubgraph "x'


@pytest.fixture
def wired(filemill, tmp_path):
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    return filemill


def test_a_pipeline_is_drawn_as_a_tree(wired):
    drawn = re.sub(r"  +", "  ", wired("graph", "orders").stdout)
    assert drawn == re.sub(r"  +", "  ", DRAWN)


def test_without_box_characters_it_is_drawn_with_letters(wired):
    done = wired("graph", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.stdout.isascii()
    assert "   |- bad  -> rejects" in done.stdout
    assert "bundles  when bundle" in done.stdout


def test_json_has_every_wire(wired):
    told = json.loads(wired("graph", "--json").stdout)
    assert told["schema"] == "filemill.graph/1"
    nodes = {node["id"]: node for node in told["nodes"]}
    wires = {(e["from"], e["to"], e["label"]) for e in told["edges"]}
    assert all(begin in nodes and end in nodes for begin, end, _ in wires)
    assert wires >= {
        ("source:partners", "tag:orders", ""),
        ("source:partners", "tag:partner:{dir}", ""),
        ("tag:orders", "pipeline:orders", ""),
        ("tag:partner:{dir}", "pipeline:orders", ""),
        ("pipeline:orders", "step:orders/read_csv", ""),
        ("step:orders/write", "sink:raw", ""),
        ("step:orders/write", "step:orders/route", ""),
        ("step:orders/route", "sink:rejects", "bad"),
        ("step:orders/route", "sink:crm", "vip"),
        ("step:orders/route", "sink:warehouse", "vip"),
        ("step:orders/route", "sink:", "else"),
        ("step:bundles/unpack", "tag:orders", "child file"),
    }
    (inner,) = [end for begin, end, label in wires if label == "not vip"]
    assert (inner, "sink:crm", "") in wires
    assert nodes["step:orders/derive"]["detail"] == "if not bad"
    one = json.loads(wired("graph", "bundles", "--format", "json").stdout)
    assert {n["name"] for n in one["nodes"] if n["kind"] == "pipeline"} == {"bundles"}


def test_mermaid_and_dot_have_the_same_wires(wired):
    told = json.loads(wired("graph", "--json").stdout)
    flow = wired("graph", "--format", "mermaid").stdout
    assert flow.startswith("flowchart LR\n")
    assert flow.count(" -->") == len(told["edges"])
    graph = wired("graph", "--format", "dot").stdout
    assert graph.count(" -> ") == len(told["edges"])
    assert graph.count("shape=") == len(told["nodes"])


def hostile():
    nodes = (
        Node(id="source:a", kind="source", name=HOSTILE, detail=HOSTILE),
        Node(id="pipeline:" + HOSTILE, kind="pipeline", name=HOSTILE),
        Node(id="step:b", kind="step", name=HOSTILE, pipeline=HOSTILE),
    )
    edges = (Edge(begin="source:a", end="pipeline:" + HOSTILE, label=HOSTILE),)
    return Wiring(nodes, edges)


def test_hostile_names_stay_inside_their_labels_in_mermaid():
    text = mermaid(hostile())
    labels = re.findall(r'"([^"]*)"', text)
    assert len(labels) == 5
    for label in labels:
        assert re.fullmatch(r"(?:[\w _.,:=/%+-]|#\d+;|<br/>)*", label), label
    outside = re.sub(r'"[^"]*"', '""', text)
    # What is left is ours: no keyword, bracket or arrow came in with a name.
    assert outside.splitlines() == [
        "flowchart LR",
        '  n0[/""/]',
        '  n1{{""}}',
        '  subgraph p_n1[""]',
        '    n2[""]',
        "  end",
        '  n0 -->|""| n1',
    ]


def test_hostile_names_stay_inside_their_labels_in_dot():
    text = dot(hostile())
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    assert outside.splitlines()[3:] == [
        '  n0 [label="", shape=parallelogram];',
        '  n1 [label="", shape=hexagon];',
        "  subgraph cluster_n1 {",
        '    label="";',
        '    n2 [label="", shape=box];',
        "  }",
        '  n0 -> n1 [label=""];',
        "}",
    ]
    assert "\x1b" not in text


def test_graphviz_reads_it(wired):
    try:
        subprocess.run(["dot", "-V"], capture_output=True, check=True)
    except OSError:
        pytest.skip("no Graphviz on this machine")
    for text in (wired("graph", "--format", "dot").stdout, dot(hostile())):
        subprocess.run(["dot", "-Tsvg"], input=text, text=True, capture_output=True, check=True)


@pytest.mark.parametrize(
    ("pattern", "tag", "expected"),
    [
        ("orders", "orders", True),
        ("orders", "order", False),
        ("partner:*", "partner:acme", True),
        ("partner:*", "partner:{dir}", True),
        ("partner:test", "partner:{dir}", True),
        ("p*", "partner:{dir}", True),
        ("customer:*", "partner:{dir}", False),
        ("orders", "{dir}", True),
    ],
)
def test_which_tags_an_expression_means(pattern, tag, expected):
    assert meets(pattern, tag) is expected


def test_a_pipeline_that_is_not_there(wired):
    assert "did you mean `orders`?" in wired("graph", "ordrs", code=2).stderr


def test_live_counts_come_from_the_ledger(wired, tmp_path):
    assert "nothing has run here yet" in wired("graph", "--live", code=2).stderr
    (tmp_path / "a.csv").write_text("order_id,amount\n1,2\n")
    wired("run", "--once", "a.csv")
    assert "(1 done)" in wired("graph", "orders", "--live").stdout
    told = json.loads(wired("graph", "orders", "--live", "--json").stdout)
    assert {"done": 1} in [node.get("runs") for node in told["nodes"]]
