"""A seeded simulation of the whole server: time, threads, disk and workers are played, all else is the real code.

One number decides everything: what arrives, what people ask, where the disk fails, where the process is killed or the
power is cut. `python -m simulation SEED` plays it again (see `docs/simulation.md`).
"""
