"""What a file's content is wrapped in: compression, archives, text encodings. Whole files in, whole files out.

No Polars here: `check` validates names of encodings with it, and the process that walks an archive must start fast and
stay small.

Archives are walked entry by entry in a limited process of their own: `entries` says which entries are taken, `zips` and
`tars` read one format each, `walking` is the process, and `unpacking` starts it and trusts nothing it says.
"""
