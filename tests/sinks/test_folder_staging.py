"""The folder sink's half in a worker: what is staged, its names and bytes, and what a failure leaves behind."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pwd
import stat

import polars as pl
import pytest

from filemill.durable import Durable, Failpoints
from filemill.model.errors import PermanentError, SystemFault, TransientError
from filemill.model.files import FileRef
from filemill.model.runs import RunOrder, publication_id
from filemill.ports.examining import Level
from filemill.ports.sink import SinkContext
from filemill.records.batch import Batch
from filemill.records.layout import LINE, Dialect, Layout, Restart
from filemill.sinks import staging
from filemill.sinks.folder import FolderSink
from filemill.sinks.folder_options import FolderOptions


def make_sink(root, fail="", *, prepare=True, **options):
    durable = Durable(Failpoints("worker", fail))
    sink = FolderSink(
        SinkContext("out", FolderOptions(folder=str(root), **options), "UTC", durable)
    )
    if prepare:
        sink.prepare()
    return sink


def order(number, relative=None, content=b"", path=b"", **more):
    file = FileRef(
        file=f"f{number}",
        path=path,
        relative=relative or b"n%d.csv" % number,
        size=len(content),
        source="s",
        arrived_ns=0,
    )
    return RunOrder(f"r{number}", file, "orders", 1, 1, 7, **more)


def csv_batch(rows, columns=("a", "b"), received=None, crlf=False, added=()):
    """A batch of (order, record text) rows; `added` columns have their cell `+`."""
    received = received or columns
    layout = Layout(
        format="csv",
        read_as="csv",
        columns=(*columns, *added),
        base=tuple(columns),
        added=tuple(added),
        dialect=Dialect(crlf=crlf),
        header=",".join(received),
        received=tuple(received),
        returns=crlf,
    )
    return batch_of(rows, layout, added)


def batch_of(rows, layout, added=()):
    frame = pl.DataFrame(
        {
            "_raw": pl.Series([text for _, text in rows], dtype=pl.String),
            "_file": pl.Series([index for index, _ in rows], dtype=pl.UInt32),
            "_record": pl.Series(range(1, len(rows) + 1), dtype=pl.Int64),
        }
    )
    for name in added:
        frame = frame.with_columns(
            pl.repeat("+", len(rows), dtype=pl.String, eager=True).alias("_cell:" + name)
        )
    return Batch(frame, layout, [frozenset()] * 8)


def lines_batch(rows):
    layout = Layout("lines", "lines", columns=(LINE,), base=(LINE,), returns=True)
    return batch_of(rows, layout)


def jsonl_batch(rows):
    return batch_of(rows, Layout("jsonl", "jsonl", returns=False))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


def contents(staged):
    """By run: (name, bytes); and every promise about a staged output."""
    found = {}
    for run, outputs in staged.items():
        for output in outputs:
            with open(output.staged, "rb") as source:
                data = source.read()
                status = os.fstat(source.fileno())
            assert (status.st_dev, status.st_ino) == (output.device, output.inode)
            assert output.size == len(data)
            assert output.digest == hashlib.sha256(data).hexdigest()
            assert output.staged.endswith(b"/" + output.publication.encode() + b".7")
            found[run] = (output.name, data)
    return found


def visible(root):
    return sorted(name for name in os.listdir(root) if name != ".filemill")


def left(root):
    return os.listdir(root / ".filemill")


def begun(root):
    """Outputs that are being written and have no name yet."""
    folder = os.fsencode(root / ".filemill") + b"/"
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.append(os.readlink(b"/proc/self/fd/" + descriptor.encode()))
    return [each for each in found if each.startswith(folder) and each.endswith(b" (deleted)")]


def test_small_files_of_one_batch_are_cut_apart(root):
    orders = [order(0), order(1), order(2)]
    stager = make_sink(root).stager(orders)
    stager.write(csv_batch([(0, "1,x"), (0, "2,y"), (2, "3,ä€")]))
    stager.write(csv_batch([(2, "4,z")]))
    staged = stager.finish()
    assert contents(staged) == {
        "r0": (b"n0.csv", b"a,b\n1,x\n2,y\n"),
        "r2": (b"n2.csv", "a,b\n3,ä€\n4,z\n".encode()),
    }
    assert [output.records for output in staged["r0"] + staged["r2"]] == [2, 2]
    assert visible(root) == []


def expected(*columns, **more):
    return csv_batch([], added=columns, **more).layout


def test_the_header_is_what_was_expected_whatever_the_records_bring(root):
    stager = make_sink(root).stager([order(0), order(1), order(2)])
    for number in (0, 1):
        stager.expect(number, expected("vip", "late"), more=False)
    stager.expect(2, expected("other"), more=False)
    stager.write(csv_batch([(0, "1,x"), (2, "5,v")], added=("vip",)))
    stager.write(csv_batch([(0, "2,y"), (1, "3,z"), (2, "6,w")]))
    assert contents(stager.finish()) == {
        "r0": (b"n0.csv", b"a,b,vip,late\n1,x,+,\n2,y,,\n"),
        "r1": (b"n1.csv", b"a,b,vip,late\n3,z,,\n"),
        "r2": (b"n2.csv", b"a,b,vip,other\n5,v,+,\n6,w,,\n"),  # nothing is cut
    }


def test_without_expectation_the_header_is_the_union_over_the_files_own_records(root):
    stager = make_sink(root).stager([order(0), order(1)])
    stager.write(csv_batch([(0, "1,x")], added=("vip",)))
    stager.write(csv_batch([(0, "2,y"), (1, "3,z")]))
    assert contents(stager.finish()) == {
        "r0": (b"n0.csv", b"a,b,vip\n1,x,+\n2,y,\n"),
        "r1": (b"n1.csv", b"a,b\n3,z\n"),
    }


def test_an_expectation_that_grows_after_records_were_written_restarts(root):
    sink = make_sink(root)
    stager = sink.stager([order(0), order(1)])
    for number in (0, 1):
        stager.expect(number, expected(), more=False)
    stager.write(csv_batch([(0, "1,x"), (1, "2,y")]))
    stager.expect(0, expected(), more=False)
    with pytest.raises(Restart) as caught:
        stager.expect(0, expected("vip"), more=False)
    stager.abort()
    assert caught.value.hints.headers == {"out": {0: ("a", "b", "vip")}}
    stager = sink.stager([order(0), order(1)], caught.value.hints.headers["out"])
    for number in (0, 1):
        stager.expect(number, expected(), more=False)
    stager.write(csv_batch([(0, "1,x"), (1, "2,y")]))
    stager.expect(0, expected("vip"), more=False)
    assert contents(stager.finish()) == {
        "r0": (b"n0.csv", b"a,b,vip\n1,x,\n"),
        "r1": (b"n1.csv", b"a,b\n2,y\n"),
    }


def test_files_of_other_headers_do_not_mix_theirs(root):
    stager = make_sink(root).stager([order(0), order(1)])
    stager.write(csv_batch([(0, "1,2")]))
    stager.write(csv_batch([(1, "3")], columns=("c",)))
    assert contents(stager.finish()) == {
        "r0": (b"n0.csv", b"a,b\n1,2\n"),
        "r1": (b"n1.csv", b"c\n3\n"),
    }


def test_ndjson_as_csv_has_its_own_columns_whatever_it_travelled_with(root):
    sink = make_sink(root, format="csv")
    together = sink.stager([order(0, b"a.jsonl"), order(1, b"b.jsonl")])
    together.write(jsonl_batch([(0, '{"x":1}'), (1, '{"y":"q,"}'), (1, '{"z":null,"y":2}')]))
    assert contents(together.finish()) == {
        "r0": (b"a.csv", b"x\n1\n"),
        "r1": (b"b.csv", b'y,z\n"q,",\n2,\n'),
    }


def test_crlf_files_keep_their_line_ends(root):
    stager = make_sink(root).stager([order(0)])
    stager.write(csv_batch([(0, "1,x\r"), (0, "2,y\r")], crlf=True))
    assert contents(stager.finish())["r0"][1] == b"a,b\r\n1,x\r\n2,y\r\n"


def test_as_received_gives_the_original_bytes_under_the_original_header(root):
    stager = make_sink(root, **{"as": "received"}).stager([order(0), order(1)])
    batch = csv_batch(
        [(0, "007,1.10\r"), (0, '"x",y\r'), (1, "1,\r")], received=("A ", "b"), crlf=True
    )
    doubled = Batch(batch.frame[[0, 0, 1, 2]], batch.layout, batch.file_tags)  # a record fanned out
    stager.write(doubled)
    assert contents(stager.finish()) == {
        "r0": (b"n0.csv", b'A ,b\r\n007,1.10\r\n"x",y\r\n'),
        "r1": (b"n1.csv", b"A ,b\r\n1,\r\n"),
    }


def test_format_decides_suffix_and_bytes(root):
    stager = make_sink(root, format="jsonl").stager([order(0, b"sub/a.csv")])
    stager.write(csv_batch([(0, "007,x")]))
    assert contents(stager.finish()) == {"r0": (b"sub/a.jsonl", b'{"a":"007","b":"x"}\n')}
    stager = make_sink(root).stager([order(0, b"sub/a.log")])
    stager.write(lines_batch([(0, "one"), (0, "two")]))
    assert contents(stager.finish()) == {"r0": (b"sub/a.log", b"one\ntwo\n")}


def test_no_records_no_output_unless_asked_for(root):
    stager = make_sink(root).stager([order(0), order(1)])
    stager.write(csv_batch([(0, "1,x")]))
    assert list(stager.finish()) == ["r0"]
    stager = make_sink(root, empty="write").stager([order(0), order(1), order(2)])
    stager.expect(1, expected("vip", crlf=True), more=False)
    stager.write(csv_batch([(0, "1,x")]))
    found = contents(stager.finish())
    assert found["r1"] == (b"n1.csv", b"a,b,vip\r\n")
    assert found["r2"] == (b"n2.csv", b"")  # nobody knows its header, least of all its neighbour


def test_whole_files_are_copied_never_linked(root, tmp_path):
    (tmp_path / "c").write_bytes(b"\x00\xff" * 100_000)
    orders = [order(0, b"p.bin", b"\x00\xff" * 100_000, os.fsencode(tmp_path / "c"))]
    stager = make_sink(root, format="raw").stager(orders)
    stager.write_file(orders[0])
    staged = stager.finish()
    assert contents(staged) == {"r0": (b"p.bin", b"\x00\xff" * 100_000)}
    assert os.stat(tmp_path / "c").st_nlink == 1
    assert staged["r0"][0].inode != os.stat(tmp_path / "c").st_ino


def test_a_copy_without_the_kernels_help_is_the_same(root, tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "copy_file_range", lambda *_: (_ for _ in ()).throw(OSError(18, "EXDEV"))
    )
    test_whole_files_are_copied_never_linked(root, tmp_path)


@pytest.mark.parametrize("length", [2, 4])
def test_a_file_that_changed_length_is_refused(root, tmp_path, length):
    (tmp_path / "c").write_bytes(b"x" * length)
    orders = [order(0, b"p", b"xxx", os.fsencode(tmp_path / "c"))]
    stager = make_sink(root).stager(orders)
    with pytest.raises(TransientError, match="3 were claimed"):
        stager.write_file(orders[0])
    stager.abort()
    assert left(root) == []


def test_records_do_not_fit_a_raw_sink(root):
    with pytest.raises(PermanentError, match="whole files only"):
        make_sink(root, format="raw").stager([order(0)]).write(csv_batch([(0, "1,2")]))


def test_a_sink_gets_a_runs_file_or_its_records_not_both(root, tmp_path):
    (tmp_path / "c").write_bytes(b"xxx")
    orders = [order(0, b"p", b"xxx", os.fsencode(tmp_path / "c"))]
    stager = make_sink(root).stager(orders)
    stager.write_file(orders[0])
    with pytest.raises(PermanentError, match="and now its records too"):
        stager.write(lines_batch([(0, "one")]))
    stager.abort()
    assert left(root) == []


def test_outputs_get_the_umask_or_the_mode(root):
    old = os.umask(0o027)
    try:
        stager = make_sink(root).stager([order(0)])
        stager.write(csv_batch([(0, "1,2")]))
        assert stat.S_IMODE(os.stat(stager.finish()["r0"][0].staged).st_mode) == 0o640
        stager = make_sink(root, mode="0664").stager([order(1)])
        stager.write(csv_batch([(0, "1,2")]))
        assert stat.S_IMODE(os.stat(stager.finish()["r1"][0].staged).st_mode) == 0o664
    finally:
        os.umask(old)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_outputs_are_whose_they_should_be_before_they_appear(root):
    mine = (os.geteuid(), os.getegid())
    for number, (owner, expected) in enumerate(
        [
            ("nobody", (pwd.getpwnam("nobody").pw_uid, mine[1])),
            ("65534:7", (65534, 7)),
            (":7", (mine[0], 7)),
            (None, mine),
        ]
    ):
        stager = make_sink(root, mode="0640", owner=owner).stager([order(number)])
        stager.write(csv_batch([(0, "1,2")]))
        seen = os.stat(stager.finish()[f"r{number}"][0].staged)
        assert (seen.st_uid, seen.st_gid) == expected
        assert stat.S_IMODE(seen.st_mode) == 0o640


def test_an_owner_that_this_machine_does_not_know_is_the_machines_trouble(root):
    for owner, said in (
        ("no-such-one", "no user `no-such-one`"),
        (":no-such", "no group `no-such`"),
    ):
        stager = make_sink(root, owner=owner).stager([order(0)])
        stager.write(csv_batch([(0, "1,2")]))
        with pytest.raises(SystemFault, match=said):
            stager.finish()
        assert left(root) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_doctor_tells_of_an_owner_to_whom_nothing_can_be_given(root):
    assert [each.level for each in make_sink(root, owner="nobody").examine()] == [Level.OK]
    for owner in ("no-such-one", ":no-such"):
        (found,) = make_sink(root, owner=owner).examine()
        assert (found.level, "owner" in found.help) == (Level.PROBLEM, True)
        assert f"`{owner.strip(':')}`" in found.what
    assert left(root) == []


@pytest.fixture
def small_spill(monkeypatch):
    monkeypatch.setattr(staging, "SPILL", 100)


def test_big_files_stream_and_read_the_same(root, small_spill):
    stager = make_sink(root).stager([order(0)])
    for start in range(0, 300, 10):
        stager.write(csv_batch([(0, f"{i},x{i}") for i in range(start, start + 10)]))
    assert len(begun(root)) == 1  # before the end
    assert left(root) == []  # and without a name
    staged = stager.finish()
    expected = "a,b\n" + "".join(f"{i},x{i}\n" for i in range(300))
    assert contents(staged)["r0"][1] == expected.encode()
    assert staged["r0"][0].records == 300
    assert visible(root) == []


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EISDIR])
def test_where_no_file_is_without_a_name_they_have_one(root, small_spill, monkeypatch, error):
    opened = os.open

    def refuse(path, flags, mode=0o777, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(error, os.strerror(error))
        return opened(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", refuse)
    stager = make_sink(root).stager([order(0)])
    for _ in range(40):
        stager.write(lines_batch([(0, "one")]))
    assert (len(left(root)), begun(root)) == (1, [])
    assert contents(stager.finish()) == {"r0": (b"n0.csv", b"one\n" * 40)}


def test_what_an_interrupted_try_left_makes_room(root, small_spill):
    stager = make_sink(root).stager([order(0)])
    stager.write(lines_batch([(0, "one")] * 40))
    there = root / ".filemill" / f"{publication_id('r0', 'out', b'n0.csv')}.1"
    there.write_bytes(b"half")
    assert contents(stager.finish()) == {"r0": (b"n0.csv", b"one\n" * 40)}


def test_big_files_of_lines_stream(root, small_spill):
    stager = make_sink(root).stager([order(0), order(1)])
    for _ in range(40):
        stager.write(lines_batch([(0, "one"), (1, "twotwo\r")]))
    assert len(begun(root)) == 2
    assert contents(stager.finish()) == {
        "r0": (b"n0.csv", b"one\n" * 40),
        "r1": (b"n1.csv", b"twotwo\r\n" * 40),
    }


def test_a_late_column_restarts_and_the_restart_knows_it(root, small_spill):
    sink = make_sink(root)
    early = [csv_batch([(0, f"{i},x") for i in range(50)])] * 2
    late = csv_batch([(0, "99,y")], added=("vip",))
    stager = sink.stager([order(0)])
    for batch in early:
        stager.write(batch)
    with pytest.raises(Restart) as caught:
        stager.write(late)
    stager.abort()
    assert left(root) == []
    header = caught.value.hints.headers["out"]
    assert header == {0: ("a", "b", "vip")}
    stager = sink.stager([order(0)], header)
    for batch in [*early, late]:
        stager.write(batch)
    lines = contents(stager.finish())["r0"][1].split(b"\n")
    assert lines[0] == b"a,b,vip"
    assert lines[1] == b"0,x,"
    assert lines[-2] == b"99,y,+"


def test_drop_forgets_one_run(root, small_spill):
    stager = make_sink(root).stager([order(0), order(1)])
    stager.write(lines_batch([(0, "x" * 200), (1, "y")]))
    stager.drop("r0")
    assert left(root) == []
    stager.write(lines_batch([(0, "more"), (1, "z")]))
    assert contents(stager.finish()) == {"r1": (b"n1.csv", b"y\nz\n")}
    assert len(left(root)) == 1


def test_drop_of_records_that_wait(root):
    stager = make_sink(root).stager([order(0), order(1)])
    stager.write(csv_batch([(0, "1,x"), (1, "2,y")]))
    stager.drop("r0")
    assert contents(stager.finish()) == {"r1": (b"n1.csv", b"a,b\n2,y\n")}


def test_abort_removes_everything_also_after_finish(root):
    stager = make_sink(root).stager([order(0)])
    stager.write(csv_batch([(0, "1,x")]))
    stager.finish()
    assert len(left(root)) == 1
    stager.abort()
    stager.abort()
    assert left(root) == []


@pytest.mark.parametrize("files", [1, 8])
@pytest.mark.parametrize("code", ["EIO", "ENOSPC", "EDQUOT"])
def test_a_failed_sync_condemns_the_group(root, files, code):
    """Kills the promise at every sync of a group, until one passes untouched."""
    for number in range(1, 20):
        fail = ",".join(
            f"{name}:{number}:{code}" for name in ("sync_file", "sync_group", "sync_directory")
        )
        make_sink(root)
        sink = make_sink(root, fail, prepare=False)
        stager = sink.stager([order(i) for i in range(files)])
        stager.write(csv_batch([(i, "1,x") for i in range(files)]))
        try:
            staged = stager.finish()
        except SystemFault as fault:
            assert fault.help  # noqa: PT017 -- the loop ends with the first clean pass
            assert left(root) == []
            assert visible(root) == []
        else:
            assert number > 1
            assert len(staged) == files
            return
    pytest.fail("no pass was left untouched")


def test_a_full_disk_is_the_machines_trouble(root, monkeypatch):
    stager = make_sink(root).stager([order(0)])
    stager.write(csv_batch([(0, "1,x")]))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(SystemFault, match="No space left"):
        stager.finish()
    monkeypatch.undo()
    assert left(root) == []


def test_short_writes_lose_nothing(root, monkeypatch):
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, pieces, at: real(fd, [pieces[0][:3]], at))
    stager = make_sink(root).stager([order(0)])
    stager.write(csv_batch([(0, "1,long enough"), (0, "2,y")]))
    stager.write(csv_batch([(0, "3,z")]))
    assert contents(stager.finish())["r0"][1] == b"a,b\n1,long enough\n2,y\n3,z\n"


def test_a_staging_folder_that_was_removed_is_made_again(root):
    sink = make_sink(root)
    os.rmdir(root / ".filemill")
    stager = sink.stager([order(0)])
    stager.write(csv_batch([(0, "1,x")]))
    stager.finish()
    assert stat.S_IMODE(os.stat(root / ".filemill").st_mode) == 0o700


def test_another_fence_is_another_staged_file(root):
    sink = make_sink(root)
    paths = []
    for fence in (7, 8):
        one = order(0)
        one = RunOrder(one.run, one.file, one.pipeline, 1, 1, fence)
        stager = sink.stager([one])
        stager.write(csv_batch([(0, "1,x")]))
        paths.append(stager.finish()["r0"][0])
    assert paths[0].publication == paths[1].publication
    assert paths[0].staged != paths[1].staged


def test_options_say_what_is_wrong():
    for wrong, says in [
        ({"name": "{nmae}"}, "did you mean"),
        ({"rate": "1"}, "not available in this version"),
        ({"compress": "gz", "format": "raw"}, "remove `compress`"),
        ({"compress": "bz2"}, "gz"),
        ({"mode": "abc"}, "three octal digits"),
        ({"owner": "a b"}, "write user, user:group or :group"),
        ({"owner": ":"}, "is no owner"),
        ({"owner": ""}, "is no owner"),
        ({"owner": "a\0b"}, "is no owner"),
        ({"owner": ":4294967295"}, "the largest is 4294967294"),
        ({"as": "received", "format": "csv"}, "remove `format`"),
        ({"colision": "fail"}, "Extra inputs"),
    ]:
        with pytest.raises(ValueError) as caught:
            FolderOptions.model_validate({"folder": "/x", **wrong})
        assert says in str(caught.value)


def test_options_survive_a_round_trip():
    options = FolderOptions.model_validate({"folder": "/x", "as": "received", "mode": "0640"})
    dumped = options.model_dump()
    assert dumped["as"] == "received"
    assert dumped["mode"] == 0o640
    assert FolderOptions.model_validate(dumped) == options
    FolderOptions.model_json_schema()
