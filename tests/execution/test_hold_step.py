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


def test_a_run_that_was_let_pass_goes_on_with_the_choice_as_a_tag(mill: Mill) -> None:
    from milling import route

    steps = [
        step("read_csv"),
        step("tag_records", tags={"big": "id > 100"}),
        step("hold", message="look", choices=["pay", "reject"], guard="big", id="ask"),
        route()(("choice:reject", ["rejects"]), (None, ["out"])),
    ]
    answers = {"a": "pay", "b": "reject", "c": "gone", "d": ""}
    orders = [mill.order(n, CSV, released={"ask": answer}) for n, answer in answers.items()]
    results, out = mill.run(steps, *orders, mill.order("e", CSV, released={"other": "pay"}))
    assert all(map(balanced, results))
    # An answer that there is not any more is none; nobody answered the last one.
    assert [bool(result.hold) for result in results] == [False, False, True, False, True]
    assert out["a"] == out["d"] == {"out": CSV}
    assert out["b"] == {"out": b"id\n1\n22\n", "rejects": b"id\n333\n"}


def test_a_file_that_was_let_pass_has_the_choice_as_a_tag(mill: Mill) -> None:
    steps = [
        step("hold", message="look", choices=["pay", "reject"], id="ask"),
        step("write", to="rejects", guard="choice:reject", id="no"),
        step("read_csv"),
        step("write", to="out", guard="choice:pay"),
    ]
    orders = [mill.order(n, CSV, released={"ask": a}) for n, a in (("a", "pay"), ("b", "reject"))]
    results, out = mill.run(steps, *orders)
    assert [result.hold for result in results] == ["", ""]
    assert out == {"a": {"out": CSV}, "b": {"rejects": CSV}}


def test_a_hold_that_has_an_answer_asks_in_no_chunk(mill: Mill) -> None:
    import msgspec
    from chunk_world import ChunkWorld, story

    steps = [
        step("read_csv"),
        step("hold", message="look", choices=["ok"], id="ask"),
        step("write", to="out", guard="choice:ok"),
    ]
    data = b"id\n" + b"".join(b"%d\n" % n for n in range(50))
    world = ChunkWorld(mill, steps, data, chunk_size=16)
    try:
        world.order = msgspec.structs.replace(world.order, released={"ask": "ok"})
        ended = world.chunked()
        assert ended is not None
        assert ended.result is not None
        assert (ended.result.hold, ended.result.outputs[0].records) == ("", 50)
        assert story(mill, ended.result)["outputs"] == {"out": data}
    finally:
        world.close()
