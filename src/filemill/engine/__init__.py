"""The engine: dispatcher, worker supervisor, worker, execution of runs, retry, publish, recovery."""
