"""Scanners that come with filemill: `clamd` asks a ClamAV daemon, `yara` matches rules."""
