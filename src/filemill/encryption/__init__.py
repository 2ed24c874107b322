"""Encryption at rest: the age format (`age`), pieces of what is sent (`pieces`), texts for the ledger (`texts`).

`handing_out` is a process that opens content for who may have it, `hiding` keeps a process's memory its own.
"""
