"""Big files in chunks: cut, worked on by every idle worker, joined in order, and checkpointed one by one.

A file over `chunk_size` is one run as any other: one lease, one attempt, one set of outputs. Within the attempt

1. a worker says where the chunks end (`Cut`), or that this pipeline must see the file whole;
2. the first chunk goes alone, because what it finds out (types, columns) is what the others must know;
3. the others go to whoever is idle; their outputs are parts, in memory where that is possible;
4. parts are joined to the staged outputs in the order of the file, and each chunk that is joined is a checkpoint in the
   ledger: how long each output is, its digest so far, the counts;
5. the joined outputs are synced once, and go the way of all staged outputs; where that fails, the file begins anew.

What comes out is what reading the file in sequence gives. A chunk that was done under hints which an earlier one has
since widened is done again; one that finds a wider type sends everybody back to the start (nothing is published yet);
one that does not end where a record ends (`drifted`) makes the file be read whole.

After a crash, a retry or a restart the run goes on behind its last checkpoint if the plan is the same and the joined
bytes are what their digest says (nothing was synced, so a power cut may have taken them), else from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from filemill.encryption.age import Sealer
from filemill.engine import frames
from filemill.engine.chunk_run import Chunked, ChunkRun, Left, Whole, drop_left
from filemill.engine.chunks import Cut
from filemill.engine.joint import Joint, State
from filemill.engine.supervisor import WorkerDied, WorkerPool
from filemill.engine.trouble import Trouble
from filemill.model.errors import SystemFault
from filemill.model.events import Emit
from filemill.model.plan import PipelinePlan, Plan
from filemill.model.runs import RunOrder
from filemill.ports.clock import Clock
from filemill.ports.ledger import Checkpoint, Ledger
from filemill.ports.sink import Sink

_STATE = msgspec.msgpack.Decoder(State)


class ChunkedRuns:
    """Runs big files, any number at once. `stopping` says whether no new chunk may begin."""

    def __init__(
        self,
        *,
        plan: Plan,
        ledger: Ledger,
        pool: WorkerPool,
        sinks: Mapping[str, Sink],
        trouble: Trouble,
        clock: Clock,
        emit: Emit,
        stopping: Callable[[], bool],
    ) -> None:
        self.plan = plan
        self.ledger = ledger
        self.pool = pool
        self.sinks = sinks
        self.trouble = trouble
        self.clock = clock
        self.emit = emit
        self.stopping = stopping
        self.sealer = Sealer(plan.encryption.recipients) if plan.encryption is not None else None
        """Seals what the ledger is told of a file: some of that quotes it."""

    def wants(self, orders: Sequence[RunOrder]) -> bool:
        """Whether this job is one big file."""
        (order, *others) = orders
        return (
            not others
            and order.file.size > self.plan.chunk_size
            and not (order.input or order.insists)
        )

    async def run(self, order: RunOrder, pipeline: PipelinePlan, patience: float) -> Chunked | None:
        """Work on one big file; None: it has to be worked on whole.

        `patience` is the longest a worker may go without a sign of progress, in seconds.
        """
        joint = Joint(order, self.sinks)
        try:
            kept = await self.trouble.insist("ledger", lambda: self.ledger.checkpoints(order.run))
            cut = await self._cut(order, kept, patience)
            left = Left(kept, _STATE.decode(cut.state) if cut.state else None)
            if len(cut.ends) < 2:
                await drop_left(self, joint, left)
                return None
            run = ChunkRun(self, joint, pipeline, cut, patience=patience)
            return await run.go(left)
        except Whole:
            return None
        except WorkerDied as died:
            return Chunked(joint, died=died)
        except SystemFault as fault:
            return Chunked(joint, fault=fault)

    async def _cut(self, order: RunOrder, kept: Sequence[Checkpoint], patience: float) -> Cut:
        state = kept[-1].state if kept else b""
        reply, _ = await self.pool.run(lambda job: frames.CutUp(job, order, state), patience)
        assert isinstance(reply, frames.CutDone), "a CutUp is answered by CutDone"  # noqa: S101
        return reply.cut
