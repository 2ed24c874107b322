"""Who can get in, and what others can read or change: HTTP's address, keys, private files, the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

from filemill.durable.actions import IS_LINUX
from filemill.identity import pepper
from filemill.ledgers.sqlite.lock import holder_of
from filemill.model.errors import FilemillError
from filemill.model.keys import IN_FORCE, StoredKey
from filemill.model.plan import Plan, WebPlan
from filemill.ports.clock import Clock
from filemill.ports.examining import Finding, Level
from filemill.service.reading import open_queries

ABOUT = "access"
SOON = 14
"""Days before a key's end from which on it is warned of."""
_DAY = 86_400 * 10**9
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound
_PRIVATE = ("local.key", pepper.NAME, "ledger.db", "ledger.db-wal", "ledger.db-shm")
_OTHERS = 0o077


def examine_access(
    plan: Plan, config: str, environ: Mapping[str, str], clock: Clock
) -> list[Finding]:
    """Everything about who gets in; `config` is the main file, `environ` what secrets are read from. Only looked at."""
    return [
        *(Finding(level, ABOUT, what, remedy) for level, what, remedy in _served(plan.web)),
        *_keys(plan.data, clock.wall_ns()),
        *(
            Finding(level, ABOUT, what, remedy)
            for found in (
                _private(plan.data),
                _secrets(plan.secrets, environ),
                _changeable(config),
                _mask(plan),
            )
            for level, what, remedy in found
        ),
    ]


_Found = tuple[Level, str, str]


def _served(web: WebPlan) -> Iterator[_Found]:
    """Who reaches the port, and whether others can listen in."""
    if not web.port:
        return
    where = f"HTTP is served on {web.host}:{web.port}"
    if web.tls is not None:
        clients = ", to clients with a certificate only" if web.tls.client_ca else ""
        yield Level.OK, f"{where}, under TLS{clients}", ""
    elif web.is_loopback:
        behind = (
            "a proxy on it lets others in" if web.behind_proxy else "only this machine reaches it"
        )
        yield Level.OK, f"{where}: {behind}", ""
    elif web.host in _EVERYWHERE:
        what = f"{where}, without TLS: whoever reaches this port gets past the proxy, and can be listened to"
        remedy = "`web: {listen: ...}` the one address that the proxy asks, or have a firewall keep others out"
        yield Level.WARNING, what, remedy
    else:
        yield Level.OK, f"{where}, without TLS: the proxy in front of it speaks that", ""
    if not web.hosts and not (web.is_loopback and not web.behind_proxy):
        what = "no host names are listed: a request for any other than its own address is refused (421)"
        yield Level.WARNING, what, "`web: {hosts: [files.example.org]}`"


def _keys(data: str, now_ns: int) -> Iterator[Finding]:
    """Keys that are about to end, and whether any can be recognised."""
    try:
        with open_queries(data) as queries:
            every = queries.keys()
    except FilemillError:  # no ledger, or one that cannot be read, as is said elsewhere
        return
    known = [key for key in every if key.state(now_ns) == IN_FORCE]
    if not known:
        return
    if not os.path.exists(os.path.join(data, pepper.NAME)):
        what = (
            f"{os.path.join(data, pepper.NAME)} is gone: none of {len(known)} keys opens anything"
        )
        remedy = "put it back from a backup, or revoke all keys and make new ones"
        yield Finding(Level.PROBLEM, ABOUT, what, remedy)
    yield from (_ending(key, now_ns) for key in known if _days(key, now_ns) < SOON)
    endless = sum(key.expires_ns is None for key in known)
    what = f"keys in force: {len(known)}, of which without an end: {endless}"
    yield Finding(Level.OK, ABOUT, what, values={"keys": len(known), "endless": endless})


def _days(key: StoredKey, now_ns: int) -> int:
    return SOON if key.expires_ns is None else (key.expires_ns - now_ns) // _DAY


def _ending(key: StoredKey, now_ns: int) -> Finding:
    days = _days(key, now_ns)
    what = f"the key `{key.name}` ends {f'in {days} days' if days > 1 else 'within two days'}"
    remedy = f"filemill keys revoke {key.name}, then keys create {key.name} ...: it sees what this one sent"
    return Finding(Level.WARNING, ABOUT, what, remedy, {"days": days})


def _private(data: str) -> Iterator[_Found]:
    """Files of the data directory that nobody else may read."""
    paths = [path for path in (os.path.join(data, name) for name in _PRIVATE) if _is_file(path)]
    open_ = [path for path in paths if _mode(path) & _OTHERS]
    for path in open_:
        serves = os.path.basename(path) != "local.key"
        level = Level.WARNING if serves else Level.PROBLEM
        more = "" if serves else ": HTTP is not served like that"
        yield level, f"others may read or change {path}{more}", f"chmod 600 {path}"
    if paths and not open_:
        yield Level.OK, "its ledger and its keys are this user's alone", ""


def _secrets(names: tuple[str, ...], environ: Mapping[str, str]) -> Iterator[_Found]:
    """Files that hold the values of secrets."""
    for name in names:
        path = environ.get(f"{name}_FILE", "") if name not in environ else ""
        if _is_file(path) and _mode(path) & 0o007:
            yield (
                Level.WARNING,
                f"everybody may read the secret `{name}` in {path}",
                f"chmod o= {path}",
            )


def _changeable(config: str) -> Iterator[_Found]:
    """The configuration, which says what code runs."""
    folder = os.path.dirname(config) or "."
    for path in (config, folder):
        mode = _mode(path)
        if mode & stat.S_IWOTH and not (os.path.isdir(path) and mode & stat.S_ISVTX):
            what = f"everybody may change {path}, and so have code of theirs run here"
            yield Level.PROBLEM, what, f"chmod o-w {path}"


def _mask(plan: Plan) -> Iterator[_Found]:
    """What others may do with outputs, where their sink does not say it."""
    if all(sink.options.get("mode") is not None for sink in plan.sinks):
        return
    pid = holder_of(plan.data) if os.path.isdir(plan.data) else None
    mask = _umask_of(pid) if pid else _umask_of(os.getpid())
    if mask is None:
        return
    whose = "the server's" if pid else "this shell's"
    told = f"outputs get mode {0o666 & ~mask:04o}, where their sink has no `mode:` ({whose} umask is {mask:04o})"
    if mask & stat.S_IWOTH:
        yield Level.OK, told, ""
    else:
        remedy = "umask 022 before the start, UMask=0022 in the unit, or `mode:` in each sink"
        yield Level.WARNING, f"{told}: everybody may change them", remedy


def _umask_of(pid: int) -> int | None:
    """The mask of new files of a process; None where it is not told."""
    if not IS_LINUX:
        return None
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next(
                (int(line.split()[1], 8) for line in file if line.startswith("Umask:")), None
            )
    except OSError:  # it ended meanwhile
        return None


def _is_file(path: str) -> bool:
    return os.path.isfile(path)


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)
