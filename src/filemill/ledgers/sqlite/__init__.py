"""The ledger in one SQLite file, by apsw: no server beside it, one writer thread, group commit.

Nothing is imported here: who only reads the ledger (`reading`) starts without all that writes it (`ledger`).
"""
