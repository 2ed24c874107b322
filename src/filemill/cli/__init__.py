"""The command line: one command a file; each parses, asks service or queries, and prints."""
