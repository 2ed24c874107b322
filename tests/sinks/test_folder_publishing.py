"""The folder sink's server half: one rename each, never replacing, only once, whatever happened before."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

import msgspec
import pytest
from inotify_simple import INotify, flags

from filemill.durable import Durable, Failpoints
from filemill.model.errors import UsageError
from filemill.model.runs import Publication, publication_id
from filemill.ports.sink import Published, SinkContext
from filemill.sinks.folder import FolderSink
from filemill.sinks.folder_options import FolderOptions


def make_sink(root, fail="", **options):
    durable = Durable(Failpoints("server", fail))
    options = FolderOptions(folder=str(root), **options)
    sink = FolderSink(SinkContext("out", options, "UTC", durable))
    sink.prepare()
    return sink


def staged(root, name=b"a.csv", *, run="r1", data=b"data", mode="suffix", fence=1):
    publication = publication_id(run, "out", name)
    path = os.fsencode(root) + b"/.filemill/%s.%d" % (publication.encode(), fence)
    with open(path, "wb") as out:
        out.write(data)
        status = os.fstat(out.fileno())
    return Publication(
        publication=publication,
        run=run,
        fence=fence,
        sink="out",
        name=name,
        staged=path,
        device=status.st_dev,
        inode=status.st_ino,
        size=len(data),
        digest=hashlib.sha256(data).hexdigest(),
        records=0,
        mode=mode,
        state="staged",
    )


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


def names(root):
    return sorted(
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, files in os.walk(root)
        for name in files
    )


def test_prepare_makes_a_private_staging_folder_and_leaves_nothing_in_it(root):
    make_sink(root)
    assert stat.S_IMODE(os.stat(root / ".filemill").st_mode) == 0o700
    assert names(root) == []
    os.chmod(root / ".filemill", 0o755)
    make_sink(root)
    assert stat.S_IMODE(os.stat(root / ".filemill").st_mode) == 0o700


def test_publish_renames_into_place_and_makes_folders(root):
    sink = make_sink(root)
    one, two = staged(root), staged(root, b"deep/er/b.csv")
    assert sink.publish([one, two]) == [Published.YES, Published.YES]
    sink.sync([one, two])
    assert names(root) == ["a.csv", "deep/er/b.csv"]
    assert (root / "a.csv").read_bytes() == b"data"


def test_publish_again_after_a_crash_has_no_second_effect(root):
    sink = make_sink(root)
    one = staged(root)
    sink.publish([one])
    before = os.stat(root / "a.csv")
    assert make_sink(root).publish([one]) == [Published.YES]
    after = os.stat(root / "a.csv")
    assert names(root) == ["a.csv"]
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)


def test_a_crash_between_link_and_unlink_leaves_one_name(root):
    """File systems without NOREPLACE publish by link and unlink: recovery must accept both names."""
    sink = make_sink(root)
    one = staged(root)
    os.link(one.staged, root / "a.csv")
    assert sink.publish([one]) == [Published.YES]
    assert names(root) == ["a.csv"]
    assert os.stat(root / "a.csv").st_nlink == 1


def test_an_output_that_a_consumer_took_is_unverified_and_not_written_again(root):
    sink = make_sink(root)
    one = staged(root, b"sub/a.csv")
    sink.publish([one])
    os.unlink(root / "sub" / "a.csv")
    assert sink.publish([one]) == [Published.UNVERIFIED]
    assert names(root) == []
    os.rmdir(root / "sub")
    assert sink.publish([one]) == [Published.UNVERIFIED]
    sink.sync([one])


def test_a_taken_output_whose_name_somebody_else_now_has_is_unverified(root):
    sink = make_sink(root)
    one = staged(root)
    sink.publish([one])
    os.rename(root / "a.csv", root / "keep-inode-busy")
    (root / "a.csv").write_bytes(b"other")
    assert sink.publish([one]) == [Published.UNVERIFIED]
    assert (root / "a.csv").read_bytes() == b"other"


def test_a_name_of_somebody_else_is_never_replaced(root):
    sink = make_sink(root)
    (root / "a.csv").write_bytes(b"theirs")
    one = staged(root)
    assert sink.publish([one]) == [Published.TAKEN]
    assert (root / "a.csv").read_bytes() == b"theirs"
    assert os.path.exists(one.staged)


def test_negative_control_a_replacing_rename_would_be_noticed(root, monkeypatch):
    """Shows that the test above fails, and `prepare` refuses, when rename replaces."""
    sink = make_sink(root)
    (root / "a.csv").write_bytes(b"theirs")
    one = staged(root)
    monkeypatch.setattr(Durable, "rename", Durable.replace)
    assert sink.publish([one]) == [Published.YES]
    assert (root / "a.csv").read_bytes() == b"data"
    with pytest.raises(UsageError, match="replaces"):
        make_sink(root)
    assert names(root) == ["a.csv"]


def test_two_publications_of_one_name(root):
    sink = make_sink(root)
    one, two = staged(root, run="r1", data=b"one"), staged(root, run="r2", data=b"two")
    assert sink.publish([one, two]) == [Published.YES, Published.TAKEN]
    (other,) = sink.free_names([two.name])
    moved = Publication(**{f: getattr(two, f) for f in two.__struct_fields__} | {"name": other})
    assert sink.publish([one, moved]) == [Published.YES, Published.YES]
    assert (root / "a.csv").read_bytes() == b"one"
    assert (root / "a-2.csv").read_bytes() == b"two"
    assert names(root) == ["a-2.csv", "a.csv"]


def test_replace_replaces_once(root):
    sink = make_sink(root, collision="replace")
    (root / "a.csv").write_bytes(b"old")
    one = staged(root, mode="replace")
    assert sink.publish([one]) == [Published.YES]
    assert (root / "a.csv").read_bytes() == b"data"
    assert sink.publish([one]) == [Published.YES]


def test_hostile_names_arrive_byte_for_byte(root):
    sink = make_sink(root)
    hostile = [b"two\nlines", b"\xff\xfe\x80", b" ", b"-rf", b"x" * 255, "\u202egnp.exe".encode()]
    publications = [staged(root, name, run=f"r{i}") for i, name in enumerate(hostile)]
    assert set(sink.publish(publications)) == {Published.YES}
    assert sorted(n for n in os.listdir(os.fsencode(root)) if n != b".filemill") == sorted(hostile)


def test_a_file_in_the_way_of_a_folder_is_a_taken_name_and_concerns_that_output_alone(root):
    sink = make_sink(root)
    (root / "acme").write_bytes(b"a file")
    bad, good = staged(root, b"acme/a.csv"), staged(root, b"b.csv")
    assert sink.publish([bad, good]) == [Published.TAKEN, Published.YES]
    assert os.path.exists(bad.staged)
    os.unlink(root / "acme")
    assert sink.publish([bad]) == [Published.YES]


def test_a_folder_in_the_way_of_a_name_is_taken(root):
    sink = make_sink(root)
    os.makedirs(root / "a.csv")
    assert sink.publish([staged(root)]) == [Published.TAKEN]


@pytest.mark.parametrize("code", ["ENOSPC", "EIO"])
def test_a_failing_rename_is_an_error_and_can_be_tried_again(root, code):
    sink = make_sink(root)
    one = staged(root)
    broken = make_sink(root, fail=f"rename:2:{code}")  # the first is prepare's proof
    with pytest.raises(OSError) as caught:
        broken.publish([one])
    assert caught.value.errno == getattr(errno, code)
    assert sink.publish([one]) == [Published.YES]


def test_sync_is_one_group_over_targets_and_staging(root):
    sink = make_sink(root)
    publications = [staged(root, b"d%d/a" % i, run=f"r{i}") for i in range(8)]
    sink.publish(publications)
    counts = sink._durable.failpoints.counts
    before = counts.copy()
    sink.sync(publications)
    assert counts - before == {"sync_group": 1}
    broken = make_sink(root, fail="sync_group:1:EIO")
    with pytest.raises(OSError):
        broken.sync(publications)


@pytest.mark.parametrize("action", ["EIO", "ENOSPC"])
def test_an_error_at_any_durable_action_and_then_again_is_published_once(root, action):
    """Walks through every action of publish and sync until a pass has none left to break."""
    names_ = [b"a.csv", b"x/y/b.csv", b"x/c.csv"]
    for number in range(1, 40):
        folder = root / str(number)
        sink = make_sink(folder)
        publications = [staged(folder, name, run=f"r{name}") for name in names_]
        sink._durable = Durable(Failpoints("server", f"*:{number}:{action}"))
        failed = False
        try:
            sink.publish(publications)
            sink.sync(publications)
        except OSError:
            failed = True
        again = make_sink(folder)
        assert again.publish(publications) == [Published.YES] * 3
        again.sync(publications)
        assert names(folder) == ["a.csv", "x/c.csv", "x/y/b.csv"]
        if not failed:
            assert number > 5
            return
    pytest.fail("no pass was left untouched")


@pytest.mark.parametrize("same_life", [True, False])
def test_a_folder_whose_name_could_not_be_synced_is_not_taken_for_durable(
    root, monkeypatch, same_life
):
    """What is published into it would go with it when the power does."""
    sink = make_sink(root)
    publication = staged(root, b"a/b/c.csv")
    sync, synced = Durable.sync_directory, []

    def fails(durable, path):
        if path == os.fsencode(root / "a"):
            raise OSError(errno.EIO, "Input/output error")
        sync(durable, path)

    with monkeypatch.context() as failing:
        failing.setattr(Durable, "sync_directory", fails)
        with pytest.raises(OSError, match="Input/output"):
            sink.publish([publication])
    assert (root / "a/b").is_dir()
    monkeypatch.setattr(Durable, "sync_directory", lambda _, path: synced.append(path))
    sink = sink if same_life else make_sink(root)
    assert sink.publish([publication]) == [Published.YES]
    synced.clear()
    sink.sync([publication])
    assert os.fsencode(root / "a") in synced, "the name of `b`"
    assert os.fsencode(root / "a/b") in synced


def test_a_consumer_sees_nothing_but_the_final_renames(root):
    sink = make_sink(root)
    with INotify() as watch:
        watch.add_watch(
            str(root),
            flags.CREATE
            | flags.DELETE
            | flags.MOVED_FROM
            | flags.MOVED_TO
            | flags.MODIFY
            | flags.OPEN,
        )
        publications = [staged(root, b"%d.csv" % i, run=f"r{i}") for i in range(5)]
        sink.publish(publications)
        sink.sync(publications)
        make_sink(root).sweep(frozenset())
        seen = [
            (event.name, event.mask)
            for event in watch.read(timeout=0)
            if event.name not in ("", ".filemill")
        ]
    assert seen == [(f"{i}.csv", flags.MOVED_TO) for i in range(5)]


def test_sweep_removes_only_unknown_staged_files(root):
    sink = make_sink(root)
    keep, gone = staged(root, run="r1"), staged(root, run="r2")
    (root / ".filemill" / "notes.txt").write_bytes(b"not ours")
    assert sink.sweep(frozenset({keep.staged})) == 1
    assert not os.path.exists(gone.staged)
    assert names(root) == sorted(
        [os.path.relpath(os.fsdecode(keep.staged), root), ".filemill/notes.txt"]
    )


def test_a_staging_folder_elsewhere_is_refused(root, tmp_path):
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", root / ".filemill")
    with pytest.raises(UsageError, match="no folder on the same file system"):
        make_sink(root)


def test_a_root_that_is_a_file_is_refused(root):
    root.write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be used"):
        make_sink(root)


@pytest.mark.parametrize("when", ["before the rename", "after it"])
def test_a_disk_that_got_another_number_still_has_what_was_staged_on_it(root, when):
    """As after a restart of the machine: what is published is not called lost, what is staged is published."""
    sink = make_sink(root)
    one = staged(root)
    if when == "after it":
        sink.publish([one])
    renumbered = msgspec.structs.replace(one, device=one.device + 1)
    assert sink.publish([renumbered]) == [Published.YES]
    assert names(root) == ["a.csv"]


def test_with_another_number_the_bytes_decide_whose_a_name_is(root):
    sink = make_sink(root)
    one = staged(root)
    sink.publish([one])
    (root / "a.csv").write_bytes(b"DATA")  # same inode, same size: another disk's file
    renumbered = msgspec.structs.replace(one, device=one.device + 1)
    with pytest.raises(OSError, match="not mounted"):
        sink.publish([renumbered])
    assert (root / "a.csv").read_bytes() == b"DATA"


def test_with_another_number_a_taken_name_is_still_taken(root):
    sink = make_sink(root)
    (root / "a.csv").write_bytes(b"somebody else's")
    one = staged(root)
    renumbered = msgspec.structs.replace(one, device=one.device + 1)
    assert sink.publish([renumbered]) == [Published.TAKEN]


def test_a_file_where_a_folder_should_be_is_gone_around(root):
    """`a.csv/part.csv` comes out of `a.csv`, and the sink may hold both."""
    sink = make_sink(root)
    (root / "a.csv").write_bytes(b"whole")
    (root / "deep").mkdir()
    (root / "deep" / "a-2.csv").write_bytes(b"another")
    (root / "deep" / "a.csv").write_bytes(b"whole")
    one, two = staged(root, b"a.csv/part.csv"), staged(root, b"deep/a.csv/part.csv")
    assert sink.publish([one, two]) == [Published.TAKEN, Published.TAKEN]
    free = sink.free_names([one.name, two.name, one.name])
    assert free == [b"a-2.csv/part.csv", b"deep/a-3.csv/part.csv", b"a-2.csv/part-2.csv"]
    renamed = [
        msgspec.structs.replace(p, name=n) for p, n in zip((one, two), free[:2], strict=True)
    ]
    assert sink.publish(renamed) == [Published.YES, Published.YES]
    assert sink.publish(renamed) == [Published.YES, Published.YES]
    assert "a-2.csv/part.csv" in names(root)
    assert (root / "a.csv").read_bytes() == b"whole"


def test_a_part_that_cannot_be_removed_is_nobodys_fault_and_swept_later(root):
    one = staged(root_made(root))
    make_sink(root, fail="unlink:3:EIO").forget([one.staged])  # two unlinks prove the sink
    assert os.path.exists(one.staged)
    sink = make_sink(root)
    assert sink.sweep(frozenset()) == 1
    sink.forget([one.staged])
    assert names(root) == []


def root_made(root):
    make_sink(root)
    return root


def over(publication, old):
    return msgspec.structs.replace(
        publication, mode="supersede", over_size=old.size, over_digest=old.digest
    )


def test_a_superseding_output_takes_the_place_of_the_earlier_one_once(root):
    sink = make_sink(root)
    old = staged(root, data=b"old")
    sink.publish([old])
    new = over(staged(root, run="r2", data=b"new"), old)
    assert sink.publish([new]) == [Published.YES]
    before = os.stat(root / "a.csv")
    assert make_sink(root).publish([new]) == [Published.YES]
    after = os.stat(root / "a.csv")
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)
    assert (root / "a.csv").read_bytes() == b"new"
    assert names(root) == ["a.csv"]


@pytest.mark.parametrize("theirs", [b"older", b"hers", b"", None])
def test_what_is_not_the_earlier_output_is_never_superseded(root, theirs):
    sink = make_sink(root)
    old = staged(root, data=b"olds")
    sink.publish([old])
    if theirs is None:
        os.rename(root / "a.csv", root / "moved")
        os.symlink(root / "moved", root / "a.csv")
    else:
        (root / "a.csv").write_bytes(theirs)  # in place: the inode is the old one's
    new = over(staged(root, run="r2", data=b"new"), old)
    assert sink.publish([new]) == [Published.TAKEN]
    assert (root / "a.csv").read_bytes() == (b"olds" if theirs is None else theirs)
    assert os.path.exists(new.staged)


def test_where_the_earlier_output_is_gone_its_name_is_free(root):
    sink = make_sink(root)
    old = staged(root, data=b"old")
    sink.publish([old])
    os.unlink(root / "a.csv")
    assert sink.publish([over(staged(root, run="r2", data=b"new"), old)]) == [Published.YES]
    assert (root / "a.csv").read_bytes() == b"new"
