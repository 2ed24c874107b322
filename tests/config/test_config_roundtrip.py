"""A random valid configuration, written in any YAML style, becomes the plan it describes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filemill.config import load
from filemill.ports.registry import Registry

REGISTRY = Registry()
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("drop", "cli")
)
TAGS = st.from_regex(r"[a-z0-9_%-]{1,5}(:[a-z0-9]{1,3})?", fullmatch=True).filter(
    lambda tag: tag not in ("and", "or", "not", "else", "if", "mode")
)
WORDS = st.sampled_from(
    [
        "on",
        "no",
        "1.10",
        "12:30:00",
        "a b",
        "{x}",
        "*.csv",
        "!bad",
        "# c",
        "a: b",
        "'q'",
        '"',
        "null",
        "~",
        "-",
        "[",
        "ü",
    ]
)


@st.composite
def documents(draw):
    tags = draw(st.lists(TAGS, min_size=1, max_size=4, unique=True))
    sinks = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower))
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower))
    pipelines = {}
    for name in names:
        chain = ["read_csv"]
        if draw(st.booleans()):
            chain.append({"derive": draw(st.dictionaries(WORDS, WORDS, min_size=1, max_size=2))})
        if draw(st.booleans()):
            chain.append({"steps.f": {"word": draw(WORDS)}, "if": draw(st.sampled_from(tags))})
        if draw(st.booleans()):
            chain.append({"write": draw(st.sampled_from(sinks))})
        else:
            route = {tag: draw(st.sampled_from([*sinks, "drop"])) for tag in tags}
            chain.append({"route": {**route, "else": draw(st.sampled_from(sinks))}})
        pipelines[name] = {"when": " or ".join(tags), "steps": chain}
    return {
        "version": "1",
        "tags": {tag: {"name": draw(WORDS)} for tag in tags},
        "pipelines": pipelines,
        "sinks": {name: {"folder": f"out/{number}"} for number, name in enumerate(sinks)},
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.sampled_from([None, True, False]), st.sampled_from([None, "'", '"']))
def test_any_valid_document_in_any_style_becomes_its_plan(document, flow, style):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "filemill.yaml"
        if style is None and flow is True:
            text = json.dumps(document, ensure_ascii=False)
        else:
            text = yaml.dump(
                document,
                default_flow_style=flow,
                default_style=style,
                sort_keys=False,
                allow_unicode=True,
                width=1000,
            )
        path.write_text(text)
        loaded = load(str(path), environ={}, registry=REGISTRY)
        plan = loaded.plan
        assert [rule.tag for rule in plan.tags] == list(document["tags"])
        assert [rule.name for rule in plan.tags] == [
            (r["name"],) for r in document["tags"].values()
        ]
        assert [sink.name for sink in plan.sinks] == list(document["sinks"])
        for pipeline, (name, written) in zip(
            plan.pipelines, document["pipelines"].items(), strict=True
        ):
            assert (pipeline.name, pipeline.when.text) == (name, written["when"])
            for step, item in zip(pipeline.steps, written["steps"], strict=True):
                if isinstance(item, str):
                    assert step.uses == item
                    continue
                assert step.uses == next(iter(item))
                value = item[step.uses]
                if step.uses == "derive":
                    assert list(step.options["columns"].items()) == list(value.items())
                elif step.uses == "steps.f":
                    assert step.options == value
                    assert step.guard.text == item["if"]
                elif step.uses == "write":
                    assert step.options == {"to": [value]}
                else:
                    routed = [(r.when.text if r.when else "else", r.sinks) for r in step.routes]
                    assert routed == [(k, () if v == "drop" else (v,)) for k, v in value.items()]
        again = load(str(path), environ={}, registry=REGISTRY)
        assert (again.plan, again.digest, again.effective) == (
            plan,
            loaded.digest,
            loaded.effective,
        )


def test_loading_ten_pipelines_brings_no_polars(tmp_path):
    (tmp_path / "inbox").mkdir()
    pipelines = "".join(
        f"  p{n}:\n    when: t{n} and not x\n    steps:\n      - read_csv\n"
        f"      - derive: {{a: b + 1, c: \"d || 'x'\"}}\n"
        f"      - tag_records: {{vip: a > 1}}\n      - steps.f: {{rate: 0.2}}\n        if: vip\n"
        f"      - route: {{vip: [out, more], else: out}}\n"
        for n in range(10)
    )
    tags = "".join(f"  t{n}: {{name: '*.t{n}', header: [a, b]}}\n" for n in range(10))
    (tmp_path / "filemill.yaml").write_text(
        f"sources: {{in: {{folder: inbox, tags: ['x']}}}}\ntags:\n{tags}pipelines:\n{pipelines}"
        "sinks: {out: {folder: out}, more: {folder: more}}\n"
    )
    program = (
        "import sys\n"
        "from filemill.config import load\n"
        "loaded = load(sys.argv[1], environ={})\n"
        "assert len(loaded.plan.pipelines) == 10 and not loaded.warnings\n"
        "assert 'polars' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "filemill.yaml")]
    subprocess.run(command, check=True)
