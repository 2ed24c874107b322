"""Whatever is asked through a scope, nothing outside of it is ever answered, and all that is inside is."""

import asyncio
import inspect
import itertools
import json
from collections import Counter

import apsw
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.access import ROLES, Principal
from filemill.model.deeds import Deed, Redrive
from filemill.model.errors import FilemillError, NotFound
from filemill.model.files import TagHit
from filemill.model.keys import Access, StoredKey
from filemill.model.sessions import StoredSession
from filemill.ports.access import Scope
from filemill.queries import Queries, scope_of
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

SOURCES = ("inbox-zq", "partner-zq", "branch-zq")
PIPELINES = ("orders-zq", "bills-zq", "notes-zq")
SENDERS = ("", "key:acme-zq", "key:bo-zq")
ENDS = ("queued", "done", "dead", "held", "retrying", "unrouted")


class Known:
    """One file of the world, as the test knows it: what of it must not be told to whom."""

    def __init__(self, number, file, source, sender, pipelines):
        self.mark = f"mark{number:03}x"
        self.file, self.source, self.sender, self.pipelines = file, source, sender, pipelines
        self.runs = {}

    def seen(self, scope):
        return (
            not scope.nothing
            and (not scope.principal or scope.principal == self.sender)
            and (not scope.sources or self.source in scope.sources)
            and (not scope.pipelines or bool(set(self.pipelines) & set(scope.pipelines)))
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A ledger with a file of every source, sender, end and set of pipelines, and what people did to them."""
    path = str(tmp_path_factory.mktemp("scopes") / "ledger.db")
    return path, asyncio.run(_tell(path))


async def _tell(path):
    ledger = await SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
    clock = FakeClock()
    journey = Journey(ledger, SequentialIds(), clock)
    await ledger.add_revision("digest-zq", "text: secret-zq", 1)
    await ledger.activate(1, "start", 1)
    await ledger.refuse_revision("refusal-zq", 1)
    known = []
    shapes = itertools.product(SOURCES, SENDERS, ENDS)
    for number, (source, sender, end) in enumerate(shapes):
        pipelines = () if end == "unrouted" else PIPELINES[number % 3 : number % 3 + 1 + number % 2]
        mine = Known(number, "", source, sender, pipelines)
        claim = journey.claim(f"{mine.mark}.csv".encode(), source=source, principal=sender)
        mine.file = claim.file
        known.append(mine)
        await journey.claimed(claim)
        await ledger.ingest([mine.file], clock.wall_ns())
        routing = journey.routing(mine.file, *pipelines, **_held(end))
        twin = known[number // 2].file if number % 5 == 1 else None
        facts = msgspec.structs.replace(
            routing.facts, tags=(*routing.facts.tags, TagHit(f"tag:{mine.mark}", "r", mine.mark))
        )
        await ledger.route([msgspec.structs.replace(routing, facts=facts, duplicate_of=twin)])
        for order in await journey.lease() if end != "queued" else []:
            mine.runs[order.run] = order.pipeline
            await _end(journey, order, end, mine.mark)
        if end == "queued":
            await ledger.pause([PIPELINES[number % 3]], Deed("ana", clock.wall_ns(), "pause-zq"))
    await _deeds(ledger, known, clock)
    await ledger.close()
    with SqliteReading.open(path) as reading:
        for mine in known:
            (row,) = reading.files([mine.file])
            mine.runs |= {run.run: run.pipeline for run in reading.runs([row.no])}
        children = [row for row in reading.files_after(0, 1_000) if row.parent]
        for row in children:
            parent = next(each for each in known if each.file == row.parent)
            child = Known(len(known), row.file, row.source, row.principal, ())
            assert (child.source, child.sender) == (parent.source, parent.sender)
            known.append(child)
    assert len(children) > 3
    return known


def _held(end):
    return {"held": "unrouted"} if end == "unrouted" else {}


async def _end(journey, order, end, mark):
    ledger = journey.ledger
    if end == "done":
        child = journey.child(order, f"child of {mark}.csv")
        assert all(await ledger.stage([journey.emitting(order, child)]))
        assert all(await ledger.finish([journey.finish(order)]))
    else:
        again = {"after_s": 60} if end == "retrying" else {}
        fail = journey.fail(order, end, message=f"failed {mark}", **again)
        assert await ledger.fail([fail]) == [True]


async def _deeds(ledger, known, clock):
    deed = Deed("staff-zq", clock.wall_ns(), "reason-zq")
    await ledger.note("edit", [each.file for each in known], "note-zq", deed)
    await ledger.note_access([Access("key:bo-zq", 1, "denied", "/files-zq")])
    key = StoredKey(
        id="keyid-zq", name="acme", roles=("admin",), hash=b"h", created_ns=1, created_by="x"
    )
    await ledger.create_key(key, deed)
    session = StoredSession(
        id="sessionid-zq", hash=b"s", principal="person-zq", how="link", created_ns=1, used_ns=1, expires_ns=2**62
    )  # fmt: skip
    await ledger.open_session(session, deed)
    with SqliteReading.open(ledger._writer._db.filename) as reading:
        groups = reading.groups("", 0)
        dead = reading.ended("dead", "", "", None, 100)
    await ledger.resolve([groups[0].fingerprint], 1, deed)
    await ledger.redrive([Redrive(dead[0].run, dead[0].fence)], deed)


def _asked(queries, known):
    """Every question there is, of every file, run and group that there is, with the answers."""
    everything = [each.file for each in known] + [run for each in known for run in each.runs]
    q = queries
    questions = {
        "files": [
            lambda: q.files(limit=1_000),
            *[lambda n=n: q.files(limit=7, cursor=str(n)) for n in (3, 30, 60)],
            *[lambda s=s: q.files(state=s, limit=1_000) for s in ("live", "done", "dead", "held", "retrying")],
            *[lambda p=p: q.files(pipeline=p, limit=1_000) for p in PIPELINES],
            *[lambda p=p: q.files(principal=p, limit=1_000) for p in SENDERS],
            lambda: q.files(tag="orders", limit=1_000),
            lambda: q.files(tag="tag:*", limit=1_000),
            lambda: q.files(tag="tag:mark01*", limit=1_000),
            lambda: q.files(name="mark", limit=1_000),
            lambda: q.files(name="mark0*.csv", limit=1_000),
            lambda: q.files(since_ns=2, limit=1_000),
        ],
        "resolve": [lambda i=i: q.resolve(i) for i in everything],
        "file": [lambda i=i: q.file(i) for i in everything],
        "run_states": [lambda: q.run_states(everything)],
        "held": [lambda: q.held(limit=1_000), lambda: q.held(reason="unrouted", limit=5)],
        "dead": [
            lambda: q.dead(limit=1_000),
            *[lambda p=p: q.dead(pipeline=p, limit=1_000) for p in PIPELINES],
        ],
        "cause": [lambda f=f: q.cause(f) for f in _groups(q)],
        "status": [q.status],
        "quick_status": [q.quick_status],
        "file_counts": [q.file_counts],
        "standing": [q.standing],
        "paused": [q.paused],
        "tags": [q.tags, lambda: q.tags("tag:")],
        "pipelines": [q.pipelines],
        "fingerprints": [q.fingerprints],
        "known_ids": [lambda: q.known_ids("", 10_000)],
        "follow": [lambda: q.follow().last(1_000), lambda: q.follow(state="dead").last(50), lambda: q.follow().news()],
        "revisions": [q.revisions],
        "refusal": [q.refusal],
        "unrouted": [lambda: q.unrouted(1_000)],
        "has_revision": [lambda: q.has_revision("digest-zq") or None],
        "key": [lambda: q.key("keyid-zq")],
        "keys": [q.keys],
        "audit": [
            lambda: q.audit(limit=1_000),
            *[lambda i=i: q.audit(object=i, limit=1_000) for i in everything[::7]],
        ],
        "audit_rows": [lambda: list(q.audit_rows())],
        "session": [lambda: q.session(b"s")],
        "sessions": [q.sessions],
        "upload": [lambda: q.upload("upload-zq")],
        "upload_of_key": [lambda: q.upload_of_key("who-zq", "key-zq")],
        "verify_audit": [],  # tells numbers and a hash; of a part of the rows it can say nothing
    }  # fmt: skip
    there = {
        name
        for name, _ in inspect.getmembers(Queries, inspect.isfunction)
        if not name.startswith("_") and name != "close"
    }
    assert there == set(questions), "every question is asked here: scopes must hold for it, too"
    for name, asked in questions.items():
        for question in asked:
            try:
                answer = question()
            except FilemillError as error:
                answer = str(error) if not isinstance(error, NotFound) else None
            yield name, json.dumps(msgspec.to_builtins(answer, enc_hook=_plain, str_keys=True))


def _groups(queries):
    found = queries.fingerprints()
    return [*found, "D"]


def _plain(value):
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _look(path, known, scope):
    """What is asked through a scope is about what it lets through only; answers with the files that were listed."""
    hidden = [each for each in known if not each.seen(scope)]
    visible = [each for each in known if each.seen(scope)]
    unseen = {each.file for each in hidden} | {each.mark for each in hidden}
    for each in known:
        unseen |= {
            run
            for run, pipeline in each.runs.items()
            if each in hidden or (scope.pipelines and pipeline not in scope.pipelines)
        }
    if scope.narrow:
        sources = {each.source for each in visible}
        unseen |= set(SOURCES) - sources
        told = {p for each in visible for p in each.runs.values()}
        unseen |= set(PIPELINES) - (told & set(scope.pipelines or told))
        unseen |= {"secret-zq", "refusal-zq", "keyid-zq", "/files-zq"}
        unseen |= {"sessionid-zq", "person-zq"}
    if scope.principal:
        unseen |= {"staff-zq", "reason-zq", "note-zq", "pause-zq"} | set(SENDERS) - {
            "",
            scope.principal,
        }
    with Queries(SqliteReading.open(path, scope), FakeClock()) as queries:
        for question, text in _asked(queries, known):
            # A question that was asked with a hidden name may repeat it in a refusal only.
            found = [word for word in unseen if word in text]
            assert not found, f"`{question}` told {found[:3]}: {text[:600]}"
        return {each.file for each in queries.files(limit=1_000).items}


scopes = st.builds(
    Scope,
    principal=st.sampled_from(("", "", *SENDERS[1:], "key:nobody")),
    sources=st.lists(st.sampled_from((*SOURCES, "none' OR 1=1 --")), max_size=2, unique=True).map(tuple),
    pipelines=st.lists(st.sampled_from((*PIPELINES, "none")), max_size=2, unique=True).map(tuple),
    nothing=st.sampled_from((False, False, False, True)),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(scopes)
def test_nothing_outside_of_a_scope_is_answered_and_all_inside_is(world, scope):
    path, known = world
    assert _look(path, known, scope) == {each.file for each in known if each.seen(scope)}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(scopes)
def test_what_a_scope_is_told_in_numbers_is_what_it_is_told_in_lists(world, scope):
    path, _ = world
    with Queries(SqliteReading.open(path, scope), FakeClock()) as queries:
        listed = queries.files(limit=1_000).items
        status = queries.status()
    assert status.files == Counter(each.state for each in listed)
    assert status.total == len(listed)
    runs = Counter((run.pipeline, run.state) for each in listed for run in each.runs)
    told = {(p.pipeline, state): many for p in status.pipelines for state, many in p.runs.items()}
    assert told == runs


def test_without_a_scope_all_is_seen(world):
    path, known = world
    assert len(_look(path, known, Scope())) == len(known) > 50


def test_the_test_sees_a_scope_that_does_not_hold(world, monkeypatch):
    """The control: with the views gone, the same questions tell of others."""
    from filemill.ledgers.sqlite import reading_connection

    monkeypatch.setattr(reading_connection, "narrow", lambda db, scope: None)
    path, known = world
    with pytest.raises(AssertionError, match="told"):
        _look(path, known, Scope(principal="key:acme-zq"))


def test_every_table_stands_behind_a_view(world):
    """Also one that a later migration makes: it is empty until somebody says which of its rows are seen."""
    path, _ = world
    db = apsw.Connection(path)
    tables = {
        name
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith("sqlite_")
    }
    db.close()
    with SqliteReading.open(path, Scope(nothing=True)) as reading:
        views = {
            name for (name,) in reading._db.execute("SELECT name FROM temp.sqlite_master WHERE type = 'view'")
        }  # fmt: skip
        assert views == tables
        for table in sorted(tables):
            assert reading._db.execute(f"SELECT count(*) FROM {table}").get == 0, table
        with pytest.raises(apsw.ReadOnlyError):
            reading._db.execute("CREATE TEMP VIEW other AS SELECT 1")


def test_one_step_down_an_index_finds_what_a_principal_sent(world):
    path, _ = world
    with SqliteReading.open(path, Scope(principal="key:acme-zq")) as reading:
        plan = reading._db.execute(
            "EXPLAIN QUERY PLAN SELECT no FROM file ORDER BY no DESC LIMIT 50"
        ).fetchall()
        assert any("file_principal" in row[3] for row in plan), plan


@pytest.mark.parametrize(
    ("roles", "scope"),
    [
        (("uploader",), Scope(principal="key:acme", sources=("s",))),
        (("viewer-meta",), Scope(sources=("s",))),
        (("uploader", "viewer-content"), Scope(sources=("s",))),
        (("admin",), Scope(sources=("s",))),
        (("scraper",), Scope(sources=("s",), nothing=True)),
        ((), Scope(sources=("s",), nothing=True)),
        (("no such role",), Scope(sources=("s",), nothing=True)),
    ],
)
def test_roles_make_the_scope(roles, scope):
    assert scope_of(Principal(name="key:acme", roles=roles, sources=("s",))) == scope


def test_nobody_without_a_right_to_look_sees_what_others_sent():
    for role, rights in ROLES.items():
        scope = scope_of(Principal(name="key:acme", roles=(role,)))
        assert scope.narrow == ("view-meta" not in rights)
