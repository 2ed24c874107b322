"""The columns of an attempt's files: as their readers found them, and as users' functions made them.

From both follow the headers of outputs. A file's columns are the same in each of its batches and chunks, so that its
records end up as they would alone and in one piece; where a later part has more of them, the attempt begins again and
knows them beforehand (`Restart`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from filemill.engine.chain import Chain, Node
from filemill.engine.headers import Header
from filemill.model.runs import RecordForm, RunOrder
from filemill.records.batch import Batch
from filemill.records.layout import Hints, Layout, Restart
from filemill.records.merging import align


class Columns:
    """What is known of them. `orders` is the attempt's own list; `expect` is told the headers of a file's outputs."""

    def __init__(
        self,
        chain: Chain,
        orders: Sequence[RunOrder],
        hints: Hints,
        expect: Callable[[int, Mapping[str, Header]], None],
    ) -> None:
        self._chain = chain
        self._orders = orders
        self._tell = expect
        self._layouts: dict[int, Layout] = {}
        self._given: dict[tuple[int, int], tuple[str, ...]] = {}
        """By function step and file: the columns it was given."""
        self._made: dict[int, dict[int, tuple[str, ...]]] = {}
        """By file and function step: the columns it made."""
        for node in chain.all_nodes:
            for file, columns in hints.columns.get(node.plan.id, {}).items():
                self._made.setdefault(file, {})[node.index] = columns

    def note_layout(self, file: int, layout: Layout) -> None:
        """Take in how a file is laid out: from that follow the headers of its outputs."""
        self._layouts[file] = layout
        if layout.columns or layout.format != "csv":
            self._expect(file)  # a file of no bytes has no header to follow from

    def layout_of(self, file: int) -> Layout:
        """How a file is laid out, once its reader has noted it."""
        return self._layouts[file]

    def form_of(self, file: int) -> RecordForm | None:
        """How the records of a file stand in it, if a reader came so far as to say."""
        layout = self._layouts.get(file)
        if layout is None:
            return None
        opens, closes = (layout.header, "") if layout.read_as == "csv" else layout.around
        original = not self._orders[file].file.changed
        return RecordForm(layout.read_as, opens, closes, layout.dialect.crlf, original)

    def note_given(self, node: Node, files: Iterable[int], batch: Batch) -> None:
        """A function step gets this batch: what it adds to the columns of these files is told from it."""
        for file in files:
            self._given[node.index, file] = batch.layout.columns

    def made_of_first(self) -> dict[str, dict[int, tuple[str, ...]]]:
        """By function step: the columns it made of the first file, as `Hints.columns` has them."""
        nodes = self._chain.all_nodes
        return {nodes[index].plan.id: {0: names} for index, names in self._made.get(0, {}).items()}

    def parts(self, node: Node, made: Batch) -> list[Batch]:
        """What a function step made, one part for each set of columns that its files have.

        A file's columns are those of its own records, wherever in it they appear, so that it passes on, and ends up,
        as it would alone and in one piece.

        Raises:
            Restart: this part of a file has columns that the parts before it had not.
        """
        if made.layout.format != "csv" or not len(made):
            return [made]
        alike: dict[tuple[str, ...], list[int]] = {}
        for file in dict.fromkeys(file for file, _, _ in made.split_files()):
            columns = made.own.get(file, made.layout.columns)
            known = self._made.setdefault(file, {}).get(node.index)
            if known is None:
                if node.plan.guard is not None:
                    columns = tuple(dict.fromkeys((*self._given[node.index, file], *columns)))
                known = self._made[file][node.index] = columns
                self._expect(file)
            elif not set(columns) <= set(known):
                names = dict.fromkeys((*known, *columns))
                given = [name for name in self._given[node.index, file] if name in names]
                union = tuple(dict.fromkeys((*given, *names)))
                raise Restart(Hints(columns={node.plan.id: {file: union}}))
            alike.setdefault(known, []).append(file)
        if len(alike) == 1:
            return [align(made, columns) for columns in alike]
        files = made.frame.get_column("_file")
        return [align(made.where(files.is_in(some)), columns) for columns, some in alike.items()]

    def _expect(self, file: int) -> None:
        headers = self._chain.headers.of(self._layouts[file], self._made.get(file, {}))
        self._tell(file, headers)
