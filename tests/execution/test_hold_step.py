"""hold: a person decides, and nothing is published before."""

from __future__ import annotations

from milling import Mill, balanced, step

from filemill.model.plan import Tolerance

CSV = b"id\n1\n22\n333\n"


def test_one_record_holds_its_run_and_no_other(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"big": "id > 100"}),
        step("hold", message="is this right?", choices=["yes", "no"], guard="big", id="look"),
        step("write", to="out"),
    ]
    (held, done), out = mill.run(steps, mill.order("a", CSV), mill.order("b", b"id\n1\n"))
    assert (held.hold, held.hold_step) == ("is this right? (line 4)", "look")
    assert held.choices == ("yes", "no")
    assert held.failure is None
    assert held.outputs == ()
    assert balanced(held)
    assert done.hold == ""
    assert out["b"]["out"] == b"id\n1\n"
    assert not [path for path in mill.staged() if "r-a" in path or "/a" in path]
    assert len(mill.announced) == 1


def test_a_held_file_is_not_even_read_and_its_neighbour_is(mill: Mill) -> None:
    mill.module(
        "mine", "seen = []\ndef f(row: dict):\n    seen.append(row['id'])\n    return row\n"
    )
    steps = [
        step("hold", message="look at it", guard="odd"),
        step("read_csv"),
        step("mine.f"),
        step("write", to="out"),
    ]
    (held, done), out = mill.run(
        steps, mill.order("a", CSV, tags=["odd"]), mill.order("b", b"id\n7\n")
    )
    assert (held.hold, held.hold_step, held.records) == ("look at it", "hold", 0)
    assert (done.hold, out) == ("", {"a": {}, "b": {"out": b"id\n7\n"}})
    import mine  # type: ignore[import-not-found]

    assert mine.seen == [7]


def test_a_run_with_too_many_bad_records_is_dead_not_held(mill: Mill) -> None:
    steps = [step("read_csv"), step("hold", message="look"), step("write", to="out")]
    order = mill.order("a", b"id,x\n1,2\n3\n")
    (result,), _ = mill.run(steps, order)
    assert result.failure is not None
    assert result.hold == ""
    (result,), _ = mill.run(steps, order, tolerance=Tolerance(1))
    assert (result.failure, result.hold) == (None, "look (line 2)")
    assert result.bad_total == 1


def test_in_a_branch(mill: Mill) -> None:
    from milling import route

    steps = [
        step("read_csv"),
        step("tag_records", tags={"big": "id > 100"}),
        route()(("big", ["vip"], [step("hold", message="look")]), (None, ["rest"])),
    ]
    (result,), _ = mill.run(steps, mill.order("a", CSV))
    assert (result.hold, result.hold_step, result.outputs) == ("look (line 4)", "hold", ())


def test_in_chunks_it_is_the_same_place_and_nothing_is_left(mill: Mill) -> None:
    from chunk_world import ChunkWorld

    steps = [
        step("read_csv"),
        step("tag_records", tags={"big": "id > 40"}),
        step("hold", message="look", choices=["ok"], guard="big"),
        step("write", to="out"),
    ]
    data = b"id\n" + b"".join(b"%d\n" % n for n in range(50))
    world = ChunkWorld(mill, steps, data, chunk_size=16)
    try:
        ended = world.chunked()
        assert ended is not None
        assert ended.result is not None
        assert ended.result.chunks > 5
        assert mill.staged() == []
        for result in (ended.result, world.whole()):
            assert (result.hold, result.hold_step) == ("look (line 43)", "hold")
            assert (result.choices, result.outputs, result.records) == (("ok",), (), 50)
    finally:
        world.close()
