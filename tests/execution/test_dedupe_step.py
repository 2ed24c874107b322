"""dedupe: the first of a file's records with a key."""

from __future__ import annotations

import random

import pytest
from milling import Mill, balanced, step

from filemill.model.plan import StepPlan
from filemill.ports.registry import Registry
from filemill.steps.seen import WIDTH, Seen


def numbers(mill: Mill, reader: str, data: bytes, dedupe: StepPlan, **plan: object) -> list[bytes]:
    (result,), out = mill.run(
        [step(reader), dedupe, step("write", to="out")], mill.order("a", data), **plan
    )
    assert result.failure is None
    assert balanced(result)
    lines = out["a"]["out"].splitlines()
    assert result.steps[1].filtered == result.records - len(lines) + (reader == "read_csv")
    return lines


def test_the_first_stays_by_text_and_nothing_without_a_key_is_a_repeat(mill: Mill) -> None:
    data = b'k,n\n7,1\n007,2\n"7",3\n,4\n,5\n7 ,6\n'
    assert numbers(mill, "read_csv", data, step("dedupe", keys=["k"])) == [
        b"k,n", b"7,1", b"007,2", b",4", b",5", b"7 ,6",
    ]  # fmt: skip
    lines = b'{"k":"a"}\n{"k":"\\u0061"}\n{"k":null}\n{}\n{}\n{"k":[1]}\n{"k":[1]}\n'
    assert numbers(mill, "read_jsonl", lines, step("dedupe", keys=["k"])) == [
        b'{"k":"a"}', b'{"k":null}', b"{}", b"{}", b'{"k":[1]}',
    ]  # fmt: skip


def test_keys_of_several_columns_do_not_run_into_one_another(mill: Mill) -> None:
    data = b"a,b\nx,yz\nxy,z\nx,yz\n"
    assert len(numbers(mill, "read_csv", data, step("dedupe", keys=["a", "b"]))) == 3


@pytest.mark.parametrize("chunk_size", [16, 1 << 20])
def test_a_repeat_in_another_chunk_is_one_and_in_another_file_is_none(
    mill: Mill, chunk_size: int
) -> None:
    data = b"k,n\n" + b"".join(b"k%d,%d\n" % (n % 5, n) for n in range(40))
    orders = [mill.order(name, data) for name in ("a", "b")]
    results, out = mill.run(
        [step("read_csv"), step("dedupe", keys=["k"]), step("write", to="out")],
        *orders,
        chunk_size=chunk_size,
    )
    for result in results:
        assert balanced(result)
        name = result.run.removeprefix("r-")
        assert out[name]["out"] == b"k,n\n" + b"".join(b"k%d,%d\n" % (n, n) for n in range(5))


def test_with_else_tag_repeats_go_on(mill: Mill) -> None:
    (result,), out = mill.run(
        [step("read_csv"), step("dedupe", keys=["k"], else_tag="again"),
         step("write", to="rejects", guard="again"), step("write", to="out", guard="not again")],
        mill.order("a", b"k\n1\n2\n1\n"),
    )  # fmt: skip
    assert result.failure is None
    assert (out["a"]["out"], out["a"]["rejects"]) == (b"k\n1\n2\n", b"k\n1\n")


def test_a_column_that_is_not_there_and_too_many_keys_end_the_run(mill: Mill) -> None:
    for options, said in (
        ({"keys": ["ky"]}, "`ky` is missing"),
        ({"keys": ["k"], "max_keys": 2}, "more than 2"),
    ):
        (result,), _ = mill.run(
            [step("read_csv"), step("dedupe", **options), step("write", to="out")],
            mill.order("a", b"k\n1\n2\n3\n"),
        )
        assert result.failure is not None
        assert said in result.failure.message
        assert result.failure.help


def test_its_state_goes_on_where_another_stood() -> None:
    chance = random.Random(7)
    digests = [chance.randbytes(WIDTH) for _ in range(5_000)] + [bytes(WIDTH), bytes(15) + b"\1"]
    whole = Seen()
    expected = [whole.add(digest) for digest in [*digests, *digests[::3]]]
    first = Seen()
    made = [first.add(digest) for digest in digests[:2_000]]
    state = first.dump()
    assert len(state) == 2_000 * WIDTH
    second = Seen.load(state)
    made += [second.add(digest) for digest in [*digests[2_000:], *digests[::3]]]
    assert made == expected
    assert expected.count(True) == len(whole) == len(second) == len(digests)
    with pytest.raises(ValueError, match="no hashes"):
        Seen.load(b"x")


def test_the_steps_state_is_bytes_that_another_step_takes_up(mill: Mill) -> None:
    """As an engine would that works on a file in chunks: one step a chunk, the state handed on."""
    from filemill.formats.csv import CsvReader
    from filemill.formats.terms import ReadRequest

    component = Registry().get("steps", "dedupe")

    class Asked:
        options = component.Options(keys=["k"])

    def batch(data: bytes):
        order = mill.order("a", data)
        ignore = lambda *_: None  # noqa: E731
        (made,) = CsvReader(ReadRequest(
            step="r", orders=[order], report_bad=ignore, count_blank=ignore, count_records=ignore,
        )).read()  # fmt: skip
        return made

    first, second = component(Asked()), component(Asked())
    first.apply(batch(b"k\n1\n2\n1\n"))
    second.restore(first.state())
    after = second.apply(batch(b"k\n2\n3\n3\n"))
    assert after.frame["_raw"].to_list() == ["3"]
