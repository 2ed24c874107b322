"""The command line: one command a module; each parses, asks service or queries, and prints.

The way in: `main`, `application`, `session`; `failing` and `wrong_words` are the way out. Commands have modules of
their own names, but for those that many words share: `dead` has `redriving`, `editing`, `exporting` and `inputting`
beside it, `held` has `releasing`, `files` `replaying` and `erasing`, `config` `revising`; `pausing`, `reloading`,
`draining`, `opening` and `trying` are words that Python has, or that say more; `keys`, `sessions` and `audit` are for
those who come over HTTP, and for what anybody did; `once` is `run --once`, `completing` is behind `completion`,
`version` behind `--version`.

Over HTTP: `upload` sends files; `reaching` says which commands a server can be asked for so, and asks;
`handing_over` brings a mended file to whoever takes it.

What commands share: `configuring` and `paths` find what they are given, `reading` opens the ledger,
`doing` asks, goes piece by piece and waits; `output` prints tables, `trial_shapes` the JSON of
trials, `progress` how far it is. Drawings: `letters` (one dead letter), `timeline` and `results` (one file), `trials`,
`standing` (which configuration runs), `graph`.
"""
