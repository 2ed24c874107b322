"""watchfiles and a pool of two processes.

    python watchfiles_pool.py INBOX OUT --work logs [--debounce MS --step MS]

It has no queue: what it has not yet done when it dies lies in the inbox until somebody touches it.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

from watchfiles import Change, watch
from work import logs, options, ready


def process(path: str, out: str) -> None:
    try:
        logs(path, os.path.basename(path), out)
    except Exception as error:  # noqa: BLE001 -- a pool would keep it to itself
        print(f"{path}: {error!r}", flush=True)


def main() -> None:
    parser = options("logs")
    parser.add_argument("--debounce", type=int, default=1600, help="as shipped 1600 ms")
    parser.add_argument("--step", type=int, default=50, help="as shipped 50 ms")
    arguments = parser.parse_args()
    told = False
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(os.path.exists, [arguments.inbox] * 4))
        for changes in watch(
            arguments.inbox,
            debounce=arguments.debounce,
            step=arguments.step,
            rust_timeout=0 if told else 100,
            yield_on_timeout=not told,
            raise_interrupt=False,
        ):
            if not told:
                told = True
                ready()
            paths = [path for change, path in changes if change is Change.added]
            pool.map(process, paths, [arguments.out] * len(paths), chunksize=16)


if __name__ == "__main__":
    main()
