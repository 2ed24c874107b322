"""Routing: what a file is, which tags it earns and why, and which pipelines want it.

`sniffing` finds the media type, `rules` the tags of one file, `inspection` does both for a group of files in a
worker, `matching` turns tags into pipelines, `explaining` says all of it about one file.
"""
