"""HTTP: a process of its own that reads the ledger, writes uploads beside it, and asks the server for all else."""
