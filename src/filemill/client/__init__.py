"""The command line as a client: what it asks a server over HTTP.

`address` says which server, with what key; `connection` asks it, `refusals` reads its errors. `reading` gives the
values that `queries` give, `acting` has acts done as `service.asking` does. Files are looked at by `files`,
made `parcels`, and sent by `sending`: each by `forms` in one request or by `parts` in several, through the `exchange`
that bears broken connections; `outcomes` is what became of each.
"""
