"""Records through whole pipelines: text kept, order kept, books closed."""

from __future__ import annotations

import json

from milling import Mill, balanced, route, step

from filemill.model.plan import Tolerance

CSV = b"id,amount,code,n\n1,5,007,1.10\n2,20000,008,1e3\n3,,009,TRUE\n"


def test_what_no_step_changes_keeps_its_text_through_tag_and_route(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        route()(("vip", ["vip"]), (None, ["rest"])),
    ]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert result.failure is None
    assert out["a.csv"] == {
        "vip": b"id,amount,code,n\n2,20000,008,1e3\n",
        "rest": b"id,amount,code,n\n1,5,007,1.10\n3,,009,TRUE\n",
    }
    assert balanced(result)
    assert (result.records, result.bad_total) == (3, 0)


def test_derive_splices_a_new_column_and_rewrites_a_replaced_one(mill: Mill) -> None:
    lines = b'{"ms": 1500, "n": 1.10}\n{"n":007e0,"x":1}\n'.replace(b"007e0", b"7e0")
    steps = [
        step("read_jsonl"),
        step("derive", columns={"slow": "ms >= 1000", "twice": "n * 2"}),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.jsonl", lines))
    assert result.failure is None
    first, second = out["a.jsonl"]["out"].splitlines()
    assert first.startswith(b'{"ms": 1500, "n": 1.10')
    assert json.loads(first) == {"ms": 1500, "n": 1.1, "slow": True, "twice": 2.2}
    assert second.startswith(b'{"n":7e0,"x":1')
    assert json.loads(second)["twice"] == 14.0

    steps = [
        step("read_csv"),
        step("derive", columns={"amount": "amount * 2"}),
        step("write", to="out"),
    ]
    _, out = mill.run(steps, mill.order("b.csv", CSV))
    assert out["b.csv"]["out"] == (
        b"id,amount,code,n\n1,10,007,1.10\n2,40000,008,1e3\n3,,009,TRUE\n"
    )


def test_a_later_expression_of_derive_sees_an_earlier_column(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("derive", columns={"a2": "amount * 2", "a4": "a2 * 2"}),
        step("select", columns=["id", "a4"]),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert result.failure is None
    assert out["a.csv"]["out"] == b"id,a4\n1,20\n2,80000\n3,\n"


def test_filter_drops_and_counts_and_null_is_not_true(mill: Mill) -> None:
    steps = [step("read_csv"), step("filter", where="amount > 10"), step("write", to="out")]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert out["a.csv"]["out"] == b"id,amount,code,n\n2,20000,008,1e3\n"
    counts = {s.step: s for s in result.steps}
    assert (counts["filter"].taken, counts["filter"].given, counts["filter"].filtered) == (3, 1, 2)
    assert balanced(result)


def test_a_guard_lets_the_others_pass_by_and_order_is_kept(mill: Mill) -> None:
    data = b"".join(b'{"i":%d}\n' % i for i in range(500))
    steps = [
        step("read_jsonl"),
        step("tag_records", tags={"odd": "i % 2 = 1"}),
        step("derive", guard="odd", columns={"half": "(i - 1) / 2"}),
        step("filter", guard="odd", where="half > 10"),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.jsonl", data), chunk_size=700)
    rows = [json.loads(line) for line in out["a.jsonl"]["out"].splitlines()]
    assert [r["i"] for r in rows] == [i for i in range(500) if i % 2 == 0 or (i - 1) / 2 > 10]
    assert all(("half" in r) == (r["i"] % 2 == 1) for r in rows)
    counts = {s.step: s for s in result.steps}
    assert counts["derive"].taken == 250
    assert counts["filter"].filtered == 11
    assert balanced(result)


def test_a_guard_on_csv_leaves_an_empty_cell(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        step("derive", guard="vip", columns={"fee": "amount / 100"}),
        step("write", to="out"),
    ]
    _, out = mill.run(steps, mill.order("a.csv", CSV))
    assert out["a.csv"]["out"].splitlines()[1:] == [
        b"1,5,007,1.10,",
        b"2,20000,008,1e3,200.0",
        b"3,,009,TRUE,",
    ]


def test_a_guard_of_file_tags_is_one_decision_a_file(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("derive", guard="eu", columns={"vat": "amount * 2"}),
        step("write", to="out"),
    ]
    results, out = mill.run(
        steps, mill.order("a.csv", CSV, ["eu"]), mill.order("b.csv", CSV, ["us"])
    )
    assert [r.failure for r in results] == [None, None]
    assert out["a.csv"]["out"].splitlines()[1] == b"1,5,007,1.10,10"
    counts = [{s.step: s.taken for s in r.steps} for r in results]
    assert [c["derive"] for c in counts] == [3, 0]
    # One header for all csv files of a sink.
    assert out["b.csv"]["out"].splitlines()[:2] == [b"id,amount,code,n,vat", b"1,5,007,1.10,"]


def test_branches_with_steps_join_in_one_sink_in_input_order(mill: Mill) -> None:
    data = b"".join(b'{"i":%d}\n' % i for i in range(100))
    steps = [
        step("read_jsonl"),
        step("tag_records", tags={"three": "i % 3 = 0", "five": "i % 5 = 0"}),
        route()(
            ("three", ["out"], [step("derive", id="d3", columns={"by": "'three'"})]),
            ("five", ["out", "vip"], [step("filter", id="f5", where="i > 50")]),
            (None, ["out"]),
        ),
    ]
    (result,), out = mill.run(steps, mill.order("a.jsonl", data), chunk_size=120)
    assert result.failure is None
    rows = [json.loads(line) for line in out["a.jsonl"]["out"].splitlines()]
    kept = [i for i in range(100) if i % 3 == 0 or i % 5 or i > 50]
    assert [r["i"] for r in rows] == kept
    assert [r["i"] for r in rows if "by" in r] == [i for i in range(100) if i % 3 == 0]
    vip = [json.loads(line)["i"] for line in out["a.jsonl"]["vip"].splitlines()]
    assert vip == [i for i in range(51, 100) if i % 5 == 0 and i % 3]
    assert balanced(result)


def test_mode_all_sends_to_every_match_but_once_per_sink(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"big": "amount > 1", "huge": "amount > 10000"}),
        route(all_matches=True)(("big", ["out"]), ("huge", ["out", "vip"]), (None, ["rest"])),
    ]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert {sink: len(data.splitlines()) - 1 for sink, data in out["a.csv"].items()} == {
        "out": 2,
        "vip": 1,
        "rest": 1,
    }
    assert balanced(result)


def test_write_then_route_to_the_same_sink_is_one_record(mill: Mill) -> None:
    steps = [step("read_csv"), step("write", to="out"), route()((None, ["out", "rest"]))]
    _, out = mill.run(steps, mill.order("a.csv", CSV))
    assert out["a.csv"] == {"out": CSV, "rest": CSV}


def test_drop_is_counted_by_file(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        route()(("vip", ["vip"]), (None, [])),
    ]
    results, out = mill.run(
        steps, mill.order("a.csv", CSV), mill.order("b.csv", CSV + b"4,1,1,1\n")
    )
    assert [r.steps[-1].filtered for r in results] == [2, 3]
    assert [r.steps[-1].given for r in results] == [1, 1]
    assert all(map(balanced, results))
    assert set(out["a.csv"]) == {"vip"}


def test_a_run_whose_records_all_go_is_done_without_outputs(mill: Mill) -> None:
    steps = [step("read_csv"), step("filter", where="amount > 1000000"), step("write", to="out")]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert result.failure is None
    assert result.outputs == ()
    assert out == {"a.csv": {}}


def test_a_refused_cast_is_a_bad_record_of_its_step(mill: Mill) -> None:
    data = b"id,when\n1,5\n2,x\n3,7\n"
    steps = [
        step("read_csv", types={"when": "text"}),
        step(
            "derive", columns={"n": "CAST(when AS INT) / 0 + 1" if False else 'CAST("when" AS INT)'}
        ),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.csv", data), tolerance=Tolerance(count=1))
    assert result.failure is None
    assert out["a.csv"]["out"] == b"id,when,n\n1,5,5\n3,7,7\n"
    (bad,) = result.bad
    assert (bad.step, bad.record, bad.line, bad.start, bad.end) == ("derive", 2, 3, 12, 15)
    assert data[bad.start : bad.end] == b"2,x"
    assert "'x' is not an integer" in bad.message
    assert balanced(result)


def test_inf_is_a_bad_record(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("derive", columns={"r": "1000 / amount"}),
        step("write", to="out"),
    ]
    (result,), out = mill.run(
        steps, mill.order("a.csv", b"amount\n10\n0\n5\n"), tolerance=Tolerance(share=0.5)
    )
    assert out["a.csv"]["out"] == b"amount,r\n10,100.0\n5,200.0\n"
    assert [b.message for b in result.bad] == ["`1000 / amount` gives inf"]


def test_over_tolerance_nothing_of_the_file_is_staged_and_its_neighbour_is_untouched(
    mill: Mill,
) -> None:
    bad = b"id,amount\n1,5\n2\n3,4,5\n4,1\n"
    steps = [step("read_csv"), step("write", to="out")]
    results, out = mill.run(
        steps,
        mill.order("bad.csv", bad),
        mill.order("good.csv", b"id,amount\n1,5\n"),
        tolerance=Tolerance(count=1),
    )
    failure = results[0].failure
    assert failure is not None
    assert failure.kind == "permanent"
    assert failure.step == "read_csv"
    assert failure.message.startswith(
        "2 of 4 records are bad (tolerance 1); the first, on line 3: "
    )
    assert failure.help
    assert failure.fingerprint.startswith("v1:")
    assert results[0].outputs == ()
    assert [b.record for b in results[0].bad] == [2, 3]
    assert results[1].failure is None
    assert out["good.csv"] == {"out": b"id,amount\n1,5\n"}
    assert len(mill.staged()) == 1
    assert mill.announced == [["r-bad.csv", "r-good.csv"]]  # a bad record is no reason to run alone


def test_an_inferred_text_column_compared_with_a_number_says_what_to_declare(mill: Mill) -> None:
    steps = [step("read_csv"), step("filter", where="amount > 10"), step("write", to="out")]
    (result,), _ = mill.run(steps, mill.order("a.csv", b"id,amount\n1,5\n2,n/a\n"))
    assert result.failure is not None
    assert result.failure.step == "filter"
    assert "column `amount`, which is text, with a number" in result.failure.message
    assert "types: {amount: float}" in result.failure.help
    assert mill.staged() == []


def test_lines_pass_untouched(mill: Mill) -> None:
    steps = [
        step("read_lines"),
        step("tag_records", tags={"error": "line LIKE '%ERROR%'"}),
        route()(("error", ["rejects"]), (None, ["rest"])),
    ]
    _, out = mill.run(steps, mill.order("a.log", b"a ERROR b\r\n  fine\n\nlast"))
    assert out["a.log"] == {"rejects": b"a ERROR b\r\n", "rest": b"  fine\nlast\r\n"}


def test_a_raw_file_is_written_as_it_is(mill: Mill) -> None:
    data = bytes(range(256)) * 100
    steps = [step("write", to=["out", "vip"])]
    (result,), out = mill.run(steps, mill.order("p.jpg", data))
    assert out["p.jpg"] == {"out": data, "vip": data}
    assert balanced(result)


def test_a_raw_file_is_routed_by_its_own_tags(mill: Mill) -> None:
    steps = [route()(("photo", ["out"]), (None, []))]
    results, out = mill.run(
        steps, mill.order("a.jpg", b"x", ["photo"]), mill.order("b.txt", b"y", ["text"])
    )
    assert out == {"a.jpg": {"out": b"x"}, "b.txt": {}}
    assert [(s.taken, s.given, s.filtered) for r in results for s in r.steps] == [
        (1, 1, 0),
        (1, 0, 1),
    ]


def test_a_type_widened_by_a_later_chunk_starts_the_file_again(mill: Mill) -> None:
    data = b'{"v":1}\n' * 400 + b'{"v":2.5}\n' + b'{"v":3}\n' * 400
    steps = [
        step("read_jsonl"),
        step("derive", columns={"w": "v * 2"}),
        step("filter", where="v <> 2"),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.jsonl", data), chunk_size=512)
    assert result.failure is None
    assert result.records == 801
    rows = out["a.jsonl"]["out"].splitlines()
    assert rows[0] == b'{"v":1,"w":2.0}'
    assert len(rows) == 801
    assert len(mill.staged()) == 1


def test_a_guard_on_lines(mill: Mill) -> None:
    steps = [
        step("read_lines"),
        step("tag_records", tags={"error": "line LIKE '%ERROR%'"}),
        step("derive", guard="error", columns={"size": "LENGTH(line)"}),
        step("write", to="out"),
    ]
    (result,), out = mill.run(
        steps, mill.order("a.log", b"a ERROR\nfine\nb ERROR\n"), sinks={"out": {"format": "jsonl"}}
    )
    assert result.failure is None
    assert out["a.log"]["out"] == (
        b'{"line":"a ERROR","size":7}\n{"line":"fine"}\n{"line":"b ERROR","size":7}\n'
    )


def test_a_guarded_select_on_csv_keeps_one_header(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"vip": "amount > 10000"}),
        step("select", guard="vip", columns=["code", {"twice": "amount * 2"}]),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert result.failure is None
    assert out["a.csv"]["out"].decode().splitlines() == [
        "id,amount,code,n,twice",
        "1,5,007,1.10,",
        ",,008,,40000",
        "3,,009,TRUE,",
    ]


def test_after_a_guard_types_are_the_same_for_all(mill: Mill) -> None:
    steps = [
        step("read_csv", types={"amount": "float"}),
        step("tag_records", tags={"vip": "amount > 10000"}),
        step("derive", guard="vip", columns={"amount": "amount + 0.5"}),
        step("filter", where="amount > 4 AND code <> '009'"),
        step("derive", guard="not vip", columns={"note": "'small'"}),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert result.failure is None
    assert out["a.csv"]["out"] == (
        b"id,amount,code,n,note\n1,5,007,1.10,small\n2,20000.5,008,1e3,\n"
    )


def test_jsonl_parts_of_different_steps_come_together(mill: Mill) -> None:
    data = b'{"k":"a","v":1.10}\n{"k":"b","v":2}\n{"k":"c","w":[1, 2]}\n'
    steps = [
        step("read_jsonl"),
        step("tag_records", tags={"a": "k = 'a'", "b": "k = 'b'"}),
        step("derive", guard="a", columns={"x": "v * 2"}),
        step("derive", guard="b", id="d2", columns={"y": "v * 3"}),
        step("filter", where="x IS NULL OR x > 2"),
        step("write", to="out"),
    ]
    (result,), out = mill.run(steps, mill.order("a.jsonl", data))
    assert result.failure is None
    assert out["a.jsonl"]["out"].splitlines() == [
        b'{"k":"a","v":1.10,"x":2.2}',
        b'{"k":"b","v":2,"y":6.0}',
        b'{"k":"c","w":[1, 2]}',
    ]
