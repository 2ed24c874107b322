"""Encryption at rest: the age format (`age`), in pieces (`pieces`) read from any place (`reading`), texts (`texts`).

`piping` is between who writes and who reads, `handing_out` a process that opens content for who may have it, and
`hiding` keeps a process's memory its own.
"""
