"""Composition roots: settings become components, components become roles, roles start and stop.

The server: `running` (watch, or once) has a `server`, which starts its `parts` in order on a `machine`;
`taking_over` what a former one left, `arrivals` and `patience` for a one-shot run. `building` and `serving` make sinks,
sources and workers of a revision, `sourcing` keeps the sources; `disposing`, `tidying`, `failed_folder`, `calming` and
`syncing` (which measures disks) are parts that no other layer has.
Another configuration: `noticing` sees it, `reloading` judges it and puts it in force.

What people ask: `acts` are the requests, `replies` the answers, `acting` does them, `control` is the socket,
`answering` what a server says and does there, `asking` how a command asks, with a server or without; `collecting`,
`mending` and `keeping_keys` are acts with a good deal behind them. `facing` keeps the process that speaks HTTP and does
what it asks in `face_frames`,
`part_uploads` what comes in parts, `keeping_sessions` who is logged in; `measured` is what metrics are made of;
`recognising` says whose key somebody shows it, `provider` asks the identity provider;
`shapes` is the JSON of what all faces show, `shape_types` its types,
`access_shapes` that of keys and logins, `values` what a command line that reads over HTTP gets instead.

`encrypting` knows for whom content is encrypted and where the identity is; `handing_out` keeps the process that opens
it for downloads. `resealing` has all of it encrypted for others, `resealing_beside` so beside a server, whose share is
`rotating`; both do it by `reencrypting`.

What failed, for people: `originals` opens what is kept, `reasons` says why, `copying` writes both as plain files, for
`exporting` and for `failed_folder`; `kept_inputs` writes what a failed step was given.

Without a server: `reading` opens the ledger; `backups`, `restoring`, `verifying` and `examining` care for it;
`explaining` and `trying` a file, `children` and `trial_child` the processes in which users' code is asked.
"""
