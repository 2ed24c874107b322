"""What `filemill doctor` looks at: the machine, the data directory, who can get in, and each source and sink.

`provider` asks the identity provider; it is imported where there is one, as its libraries are large.
"""

from __future__ import annotations

from filemill.ports.examining import Finding, Level
from filemill.service.examining.access import examine_access
from filemill.service.examining.certificate import examine_certificate
from filemill.service.examining.data import examine_data
from filemill.service.examining.machine import examine_machine
from filemill.service.examining.places import examine_places
from filemill.service.examining.syncing import examine_syncing

__all__ = [
    "Finding",
    "Level",
    "examine_access",
    "examine_certificate",
    "examine_data",
    "examine_machine",
    "examine_places",
    "examine_syncing",
]
