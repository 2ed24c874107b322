"""`scan:` and `quarantine:`: what they take, what is said of mistakes, and what of them is part of the revision."""

from __future__ import annotations

import json

from filemill.config.recalling import recall
from filemill.config.stored import read_stored
from filemill.service.children import describe

BASE = """
version: 1
sources:
  inbox: {{folder: inbox{own}}}
pipelines:
  copy: {{when: from:inbox, steps: [read_lines, {{write: out}}]}}
sinks:
  out: {{folder: out}}
scan: {scan}
"""
RULE = 'rule marker { strings: $m = "bad" condition: $m }\n'


def document(scan, own=", tags: [from:inbox]"):
    return BASE.format(scan=scan, own=own)


def test_one_scanner_or_several(project):
    plan = project.load(document("{clamd: unix:/run/clamav/clamd.ctl, timeout: 5s}")).plan
    (one,) = plan.scan
    assert one.kind == "clamd"
    assert one.options["timeout"] == 5
    assert plan.scans("inbox")
    assert plan.scans("cli"), "a source that is not known is scanned"
    project.write(RULE, "rules/a.yar")
    both = "[{clamd: 'tcp:127.0.0.1:3310'}, {yara: rules/*.yar}]"
    assert [each.kind for each in project.load(document(both)).plan.scan] == ["clamd", "yara"]
    assert not project.load(document("")).plan.scans("inbox")


def test_a_source_is_exempt_only_when_it_says_so(project):
    own = ", tags: [from:inbox], scan: off"
    plan = project.load(document("{clamd: unix:/c}", own)).plan
    assert not plan.scans("inbox")
    assert plan.scans("cli")
    said = project.said(document("{clamd: unix:/c}", own.replace("off", "no")))
    assert "can only be `off`, not `no`" in said


def test_mistakes_are_told_at_their_place(project):
    assert project.codes(document("{clamdd: unix:/c}")) == ["unknown-kind"]
    assert "did you mean `clamd`?" in project.said(document("{clamdd: unix:/c}"))
    assert "did you mean `timeout`?" in project.said(document("{clamd: unix:/c, timout: 5s}"))
    assert "write unix:" in project.said(document("{clamd: localhost}"))
    assert project.codes(document("{clamd: unix:/c, yara: a.yar}")) == ["two-kinds"]
    assert project.codes(document("clamd")) == ["bad-value"]
    assert project.codes(document("{yara: rules/*.yar}")) == ["no-rules"]
    project.write("rule a {\n  condition: $x\n}\n", "rules/a.yar")
    said = project.said(document("{yara: rules/*.yar}"), describe=describe)
    assert "rules/a.yar:2:14" in said
    assert "error[bad-rule]" in said
    project.write('include "other.yar"\n', "rules/a.yar")
    assert project.codes(document("{yara: rules/*.yar}"), describe=describe) == ["bad-rule"]


def test_rules_are_part_of_the_revision(project):
    project.write(RULE, "rules/a.yar")
    first = project.load(document("{yara: rules/*.yar}"))
    assert json.loads(first.text)["files"]["rules/a.yar"]["text"] == RULE
    project.write(RULE.replace("bad", "worse"), "rules/a.yar")
    second = project.load(document("{yara: rules/*.yar}"))
    assert second.digest != first.digest
    again = recall(
        read_stored(first.text),
        home=str(project.root),
        data=str(project.root / ".filemill"),
        environ={},
        registry=project.registry,
        describe=describe,
        revision=1,
    )
    (scanner,) = again.scan
    assert scanner.options["rules"] == {"rules/a.yar": RULE}


def test_two_people(project):
    assert not project.load(document("")).plan.two_people
    plan = project.load(document("") + "quarantine: {release: two-people}\n").plan
    assert plan.two_people
    assert "bad-value" in project.codes(document("") + "quarantine: {release: nobody}\n")


def test_only_a_strict_check_minds_that_nobody_scans_what_strangers_send(project):
    def codes(text, **how):
        return project.codes(text.replace("folder: inbox", "http: /upload"), **how)

    assert codes(document("")) == []
    assert codes(document(""), strict=True) == ["unscanned-source"]
    assert codes(document("{clamd: unix:/c}"), strict=True) == []
    exempt = document("{clamd: unix:/c}", ", tags: [from:inbox], scan: off")
    assert codes(exempt, strict=True) == ["unscanned-source"]
