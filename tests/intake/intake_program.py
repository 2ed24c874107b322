"""Takes what lies in a folder into a ledger, then ends: the processes that crash tests kill.

Reads one JSON line a case (base, content, options, fail), forks a process for it (so that the imports are
paid once), and answers with a line: `killed`, or the counts of durable actions, or the error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from typing import Any

from intake_world import World


async def take(case: dict[str, Any]) -> dict[str, int]:
    world = World(os.fsencode(case["base"]), ledger=case["base"] + "/ledger", **case["options"])
    world.content_root = os.fsencode(case["content"])
    async with world.open(fail=case["fail"]):
        await world.source.scanned()
        await world.intake.idle()
    return dict(world.durable.failpoints.counts)


def child(case: dict[str, Any], out: int) -> None:
    try:
        answer = json.dumps(asyncio.run(asyncio.wait_for(take(case), 30)))
    except BaseException:  # noqa: BLE001 -- whatever it is, the test shall read it
        answer = json.dumps(traceback.format_exc())
    os.write(out, answer.encode())
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(json.loads(line), write)
        os.close(write)
        with open(read, encoding="utf-8") as answers:
            answer = answers.read()
        _, status = os.waitpid(pid, 0)
        print("killed" if os.WIFSIGNALED(status) else answer, flush=True)


if __name__ == "__main__":
    main()
