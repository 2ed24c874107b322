"""A soak: mixed load for a long time with kills, reloads and retention, sampled; see `benchmarks/soak.py`."""
