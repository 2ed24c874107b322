from __future__ import annotations

import pytest

from filemill.config.models import parse_size_test, parse_tolerance
from filemill.model.plan import RetentionPlan, RetryPlan, Tolerance


def test_paths_are_absolute_and_options_are_builtins(project):
    import msgspec

    plan = project.load(
        """
        sources:
          in: {folder: ./inbox/, tags: "partner:{dir}", settle: 1m30s, max_size: 2MiB, poll: 5s}
        pipelines:
          p: {when: "*", steps: [write: [out, out]]}
        sinks:
          out: {folder: ../out, mode: 0640, as: received}
        """
    ).plan
    source, sink = plan.sources[0], plan.sinks[0]
    assert (source.name, source.kind, source.tags) == ("in", "folder", ("partner:{dir}",))
    assert source.options["folder"] == str(project.root / "inbox")
    assert (source.options["settle"], source.options["max_size"]) == (90.0, 2 << 20)
    assert source.options["poll"] == 5.0
    assert sink.options["folder"] == str(project.root.parent / "out")
    assert (sink.options["mode"], sink.options["as"]) == (0o640, "received")
    assert (plan.root, plan.data) == (str(project.root), str(project.root / ".filemill"))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=type(plan))
    assert again == plan


def test_the_plans_options_are_accepted_again_by_the_components(project):
    plan = project.load(
        """
        sources: {in: {folder: inbox, max_size: 1kB}}
        pipelines:
          p:
            when: "*"
            steps:
              - read_csv: {types: {a: float}, separator: ";"}
              - select: [a, {b: "UPPER(c)"}]
              - derive: {d: a}
              - filter: a > 0
              - tag_records: {t: a > 1}
              - route: {t: [out, out], else: drop}
        sinks: {out: {folder: out, mode: 640}}
        """
    ).plan
    for kind, parts in (("sources", plan.sources), ("sinks", plan.sinks)):
        for part in parts:
            model = project.registry.get(kind, part.kind).Options
            assert model.model_validate(part.options)
    for step in plan.pipelines[0].steps:
        assert project.registry.step(step.uses).Options.model_validate(step.options)


def test_retries_are_layered(project):
    plan = project.load(
        """
        defaults: {retry: {attempts: 3, max: 1m}}
        pipelines:
          a: {when: "*", steps: [write: out]}
          b:
            when: "*"
            retry: {min: 10s}
            steps:
              - steps.f:
                retry: {attempts: 1}
              - steps.g:
                retry: {min: 2m}
              - write: out
        sinks: {out: {folder: out}}
        """
    ).plan
    a, b = plan.pipelines
    assert a.retry == RetryPlan(3, 2.0, 60.0)
    assert b.retry == RetryPlan(3, 10.0, 60.0)
    assert b.steps[0].retry == RetryPlan(1, 10.0, 60.0)
    assert b.steps[1].retry == RetryPlan(3, 120.0, 120.0)
    assert b.steps[2].retry is None


def test_within_alone_ends_retries_and_beside_attempts_whichever_comes_first(project):
    plan = project.load(
        """
        defaults: {retry: {attempts: 3}}
        pipelines:
          a: {when: "*", retry: {within: 2h}, steps: [write: out]}
          b: {when: "*", retry: {within: 90s, attempts: 9}, steps: [{steps.f: , retry: {attempts: 2}}, write: out]}
          c: {when: "*", steps: [write: out]}
        sinks: {out: {folder: out}}
        """
    ).plan
    a, b, c = plan.pipelines
    assert a.retry == RetryPlan(0, 2.0, 300.0, 7200.0)
    assert b.retry == RetryPlan(9, 2.0, 300.0, 90.0)
    assert b.steps[0].retry == RetryPlan(2, 2.0, 300.0, 90.0)
    assert c.retry == RetryPlan(3, 2.0, 300.0)


def test_routes_and_branches(project):
    plan = project.load(
        """
        tags: {big: {size: ">1MB"}}
        pipelines:
          p:
            when: big
            steps:
              - read_csv
              - derive: {a: b}
              - tag_records: {vip: a > 1, bad: a < 0}
              - route:
                  else: {steps: [{derive: {z: a}}, steps.enrich], to: [crm, out]}
                  bad and not vip: drop
                  vip: [crm, out, crm]
                mode: all
        sinks: {crm: {folder: crm}, out: {folder: out}}
        """
    ).plan
    steps = plan.pipelines[0].steps
    assert [step.id for step in steps] == ["read_csv", "derive", "tag_records", "route"]
    bad, vip, other = steps[-1].routes
    assert bad.when is not None
    assert vip.when is not None
    assert (bad.when.text, bad.sinks, bad.steps) == ("bad and not vip", (), ())
    assert (vip.when.text, vip.sinks) == ("vip", ("crm", "out"))
    assert (other.when, other.sinks) == (None, ("crm", "out"))
    assert [step.id for step in other.steps] == ["derive-2", "steps.enrich"]
    assert all(route.all_matches for route in steps[-1].routes)


def test_ids_are_unique_and_given_ones_stay(project):
    plan = project.load(
        """
        pipelines:
          p:
            when: "*"
            steps:
              - steps.f
              - steps.f
              - steps.f:
                id: steps.f-2
              - steps.f:
                if: x or y
                timeout: 5s
                concurrency: 4
                io: yes
              - write: out
        sinks: {out: {folder: out}}
        tags: {x: {name: x}, y: {name: y}}
        """
    ).plan
    steps = plan.pipelines[0].steps
    assert [step.id for step in steps[:4]] == ["steps.f", "steps.f-3", "steps.f-2", "steps.f-4"]
    last = steps[3]
    assert (last.timeout, last.concurrency, last.io) == (5.0, 4, True)
    assert last.guard is not None
    assert last.guard.matches({"y"})


def test_tag_rules(project):
    plan = project.load(
        """
        sources: {in: {folder: inbox}}
        tags:
          a: {name: ["*.csv", "*.tsv"], header: [x, y], mime: text/csv, source: in, size: [">1kB", 0..10B]}
          b:
            - {path: "in/**", content: "^%PDF"}
            - {tagger: steps.look}
        pipelines: {p: {when: a or b, steps: [write: out]}}
        sinks: {out: {folder: out}}
        """
    ).plan
    first, second, third, fourth = plan.tags
    assert (first.name, first.header, first.mime) == (("*.csv", "*.tsv"), ("x", "y"), ("text/csv",))
    assert (first.source, first.size, second.size) == (("in",), (1001, None), (0, 10))
    assert (third.tag, third.path, third.content) == ("b", ("in/**",), ("^%PDF",))
    assert (fourth.tag, fourth.tagger) == ("b", "steps.look")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">1MB", (1_000_001, None)),
        (">= 1MB", (1_000_000, None)),
        ("<1KiB", (None, 1023)),
        ("<=1KiB", (None, 1024)),
        ("1B..2B", (1, 2)),
        ("1B..", (1, None)),
        ("..2B", (None, 2)),
        ("0", None),
        ("2B..1B", None),
        (">x", None),
    ],
)
def test_size_tests(text, expected):
    if expected is None:
        with pytest.raises(ValueError):
            parse_size_test(text)
    else:
        assert parse_size_test(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Tolerance(0)),
        ("100", Tolerance(100)),
        ("1%", Tolerance(0, 0.01)),
        ("0.5 %", Tolerance(0, 0.005)),
        ("101%", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_tolerances(text, expected):
    if expected is None:
        with pytest.raises(ValueError):
            parse_tolerance(text)
    else:
        assert parse_tolerance(text) == expected


def test_top_level_settings(project):
    plan = project.load(
        """
        version: 1
        timezone: Europe/Berlin
        durability: process
        workers: 7
        chunk_size: 1MiB
        max_record: 64kB
        retention: {content: 1d, dead: forever}
        pipelines: {}
        """
    ).plan
    assert (plan.timezone, plan.durability, plan.workers) == ("Europe/Berlin", "process", 7)
    assert (plan.chunk_size, plan.max_record) == (1 << 20, 64_000)
    assert plan.retention == RetentionPlan(86400.0, 90 * 86400.0, None, 365 * 86400.0)
    assert project.load("version: 1\n", revision=9).plan.revision == 9


def test_what_workers_may_hold_and_see(project):
    text = """
        version: 1
        workers: 4
        worker_memory: 1GiB
        max_work: 2GB
        worker_environment: AWS_*
        sinks: {out: {folder: out, name: {secret: NAME}}}
        pipelines: {}
        """
    plan = project.load(text, environ={"NAME": "{name}"}).plan
    assert (plan.worker_memory, plan.max_work) == (1 << 30, 2 * 10**9)
    assert (plan.worker_environment, plan.secrets) == (("AWS_*",), ("NAME",))
    assert project.load("worker_memory: 0\n").plan.worker_memory == 0
    shares = [project.load(f"workers: {n}\n").plan.worker_memory for n in (1, 4, 1024)]
    assert shares[0] >= shares[1] >= shares[2] == 512 << 20
    assert project.load("version: 1\n").plan.worker_environment is None


def test_empty_sections_are_none(project):
    loaded = project.load("sources:\ntags:\npipelines:\nsinks:\ndefaults:\nworkers:\n")
    assert loaded.plan.pipelines == ()
    assert [p.code for p in loaded.warnings] == ["no-pipelines"]
