"""A run that takes the place of an earlier one: its outputs get the names that those of the earlier run have.

Which output takes whose place is decided by what both were to be called: the same sink, and the same name by the
sink's template, whatever number was added since (`a-2.csv`). The publication notes the bytes that stood there, and only
these are ever replaced: what a consumer has changed, or put there, is theirs. An output that the earlier run had no
like of is published as any other; one of the earlier run that has no like now is left where it is, since consumers may
read it: `files show` names it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from filemill.model.runs import Earlier, RunOrder, RunResult, StagedOutput, publication_id

SUPERSEDE = "supersede"
"""The mode of such an output."""


def in_place(order: RunOrder, result: RunResult) -> RunResult:
    """The result, with each output under the name of the one whose place it takes."""
    if not order.supersedes or not result.outputs:
        return result
    outputs = tuple(_placed(output, order.supersedes) for output in result.outputs)
    return msgspec.structs.replace(result, outputs=outputs)


def _placed(output: StagedOutput, earlier: Sequence[Earlier]) -> StagedOutput:
    for each in earlier:
        if each.publication == publication_id(each.run, output.sink, output.name):
            return msgspec.structs.replace(
                output,
                name=each.name,
                mode=SUPERSEDE,
                over_size=each.size,
                over_digest=each.digest,
            )
    return output
