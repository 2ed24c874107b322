"""What a configuration must say when content is encrypted."""

import msgspec
import pyrage
import pytest

from filemill.config import ConfigProblems, load
from filemill.model.plan import Plan
from filemill.sinks.folder_options import FolderOptions

RECIPIENT = str(pyrage.x25519.Identity.generate().to_public())
CONFIG = """
version: 1
encryption: {{recipients: {recipients}, identity: {identity}}}
{more}
sources: {{a: {{folder: in, tags: [x]}}}}
pipelines: {{p: {{when: x, steps: [write: out]}}}}
sinks: {{out: {{folder: out{encrypt}}}}}
"""


def told(tmp_path, *, recipients=RECIPIENT, identity="key", more="", encrypt=", encrypt: false"):
    path = tmp_path / "filemill.yaml"
    (tmp_path / "in").mkdir()
    path.write_text(
        CONFIG.format(recipients=recipients, identity=identity, more=more, encrypt=encrypt)
    )
    return load(str(path), environ={"NAME": "AGE-SECRET-KEY-OF-NOBODY"})


def test_it_becomes_a_plan_without_the_identity(tmp_path):
    plan = told(tmp_path, encrypt=f", encrypt: {RECIPIENT}").plan
    assert plan.encryption.recipients == (RECIPIENT,)
    assert plan.encryption.identity == str(tmp_path / "key")
    assert plan.encryption.workspace.startswith("/dev/shm/filemill-")
    assert plan.scratch == plan.encryption.workspace


def test_an_identity_may_be_a_secret_and_is_no_part_of_the_plan(tmp_path):
    plan = told(tmp_path, identity="{secret: NAME}").plan
    assert plan.encryption.secret == "NAME"
    assert "NAME" in plan.secrets
    assert "NOBODY" not in str(plan)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"encrypt": ""}, "does not say whether its outputs are encrypted"),
        ({"more": "failed: {folder: failed}"}, "`failed` wants plain copies"),
        ({"recipients": "age1nobody"}, "is not a recipient"),
        ({"recipients": "AGE-SECRET-KEY-1"}, "is not a recipient"),
        ({"recipients": "[]"}, "at least one entry"),
        ({"encrypt": ", encrypt: age1nobody"}, "is not a recipient"),
        ({"encrypt": ", encrypt: []"}, "nobody could read it"),
    ],
)
def test_what_is_refused(tmp_path, given, said):
    with pytest.raises(ConfigProblems) as refused:
        told(tmp_path, **given)
    assert said in refused.value.render()


def test_without_encryption_a_sink_may_encrypt_and_need_not_say_anything(tmp_path):
    path = tmp_path / "filemill.yaml"
    (tmp_path / "in").mkdir()
    path.write_text(
        "version: 1\nsources: {a: {folder: in, tags: [x]}}\npipelines: {p: {when: x, steps: [write: [out, on]]}}\n"
        f"sinks: {{out: {{folder: out}}, on: {{folder: on, encrypt: [{RECIPIENT}]}}}}\n"
    )
    plan = load(str(path), environ={}).plan
    assert plan.encryption is None


def test_files_may_be_sent(tmp_path):
    path = tmp_path / "filemill.yaml"
    path.write_text(
        f"version: 1\nencryption: {{recipients: {RECIPIENT}, identity: key}}\n"
        "sources: {a: {http: /upload, tags: [x]}}\n"
        "pipelines: {p: {when: x, steps: [write: out]}}\n"
        "sinks: {out: {folder: out, encrypt: false}}\n"
    )
    plan = load(str(path), environ={}).plan
    assert plan.encryption is not None
    assert [each.kind for each in plan.sources] == ["http"]


def test_plain_outputs_stay_said_on_their_way_to_workers(tmp_path):
    plan = msgspec.msgpack.decode(msgspec.msgpack.encode(told(tmp_path).plan), type=Plan)
    assert FolderOptions.model_validate(plan.sink("out").options).encrypt is False
