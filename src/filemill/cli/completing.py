"""What a shell offers for the word before the cursor: commands, options, and values that the ledger knows.

`filemill __complete LINE`, which the scripts of `filemill completion` call, prints one offer a line, with a tab and
its meaning behind it where there is one; a line `::files` asks the shell for names of files. It answers from the
command line's own definitions, so nothing is kept twice, and reads the ledger by index only; where the line or
FILEMILL_URL names a server that the command would ask, that one is asked, and does not keep the shell waiting for long.
It never fails: a shell that is told nothing offers nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from filemill.cli.main import COMMANDS, load

if TYPE_CHECKING:
    from filemill.cli.session import Session
    from filemill.queries import Queries

FILES = "::files"
_SAFE = re.compile(r"[\w.%:@+-]+\*?\Z")
"""Words that mean the same in every shell without quotes; others are not offered."""
_RECENT = 60
_PATIENCE = 2.0
"""Seconds that a server over HTTP has to answer."""
Offer = tuple[str, str]
"""A word, and what it means."""


class _Walked(NamedTuple):
    """Where the words before the cursor lead."""

    command: Any
    names: list[str]
    """The command's."""
    given: int
    """Arguments so far."""
    awaited: Any
    """An option whose value comes next; None: none does."""
    said: dict[str, str]
    """The options that have been given, with their values, by name."""


def answer(words: Sequence[str]) -> int:
    """Print the offers for a line up to the cursor; 0, always."""
    line = words[0] if words else ""
    with contextlib.suppress(Exception):  # a defect here must not spoil a person's prompt
        for word, meaning in offers(line):
            sys.stdout.write(f"{word}\t{meaning}\n" if meaning else f"{word}\n")
        sys.stdout.flush()
    return 0


def offers(line: str) -> list[Offer]:
    """The offers for the last word of `line` (`filemill files sh`), which may be empty."""
    words = split(line)
    start = next((i for i, each in enumerate(words) if os.path.basename(each) == "filemill"), 0)
    *before, word = words[start + 1 :] or [""]
    line_so_far = _walk(before)
    command, names, _, awaited, _ = line_so_far
    if awaited is not None:
        return _beginning(word, _values(awaited, line_so_far, word))
    if word.startswith("-"):
        option, sign, value = word.partition("=")
        if sign and (known := _option(command, option)) is not None:
            found = _beginning(value, _values(known, line_so_far, value))
            return [(f"{option}={text}", meaning) for text, meaning in found]
        return _beginning(word, _options(command, before))
    below = getattr(command, "commands", None)
    if below is None:
        return _beginning(word, _arguments(line_so_far, word))
    if not names:
        return _beginning(word, COMMANDS.items())
    return _beginning(word, [(name, each.get_short_help_str(60)) for name, each in below.items()])


def _arguments(line: _Walked, word: str) -> list[Offer]:
    """What may stand where the command's next argument does."""
    arguments = [p for p in line.command.params if type(p).__name__.endswith("Argument")]
    if not arguments or (line.given >= len(arguments) and arguments[-1].nargs == 1):
        return []
    return _values(arguments[min(line.given, len(arguments) - 1)], line, word)


def split(line: str) -> list[str]:
    """The words of a line as a shell has them; the last one is what the cursor stands behind, perhaps empty."""
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        return [*words, ""] if not closing and line[-1:].isspace() else words
    return line.split()


def _walk(words: Sequence[str]) -> _Walked:
    """Where these words lead."""
    import typer

    from filemill.cli import application

    wanted = next((word for word in words if word in COMMANDS), None)
    for name in [wanted] if wanted else COMMANDS:
        load(name)
    command: Any = typer.main.get_command(application.app)
    names: list[str] = []
    positionals, awaited = 0, None
    said: dict[str, str] = {}
    for word in words:
        if awaited is not None:
            said[awaited.name] = word
            awaited = None
        elif word.startswith("-"):
            option, sign, value = word.partition("=")
            known = _option(command, option)
            if known is not None and (sign or known.is_flag):
                said[known.name] = value or "1"
            else:
                awaited = known
        elif (below := getattr(command, "commands", {}).get(word)) is not None:
            command, names = below, [*names, word]
        else:
            positionals += 1
    return _Walked(command, names, positionals, awaited, said)


def _option(command: Any, text: str) -> Any:
    return next((p for p in command.params if text in (*p.opts, *p.secondary_opts)), None)


def _options(command: Any, given: Sequence[str]) -> Iterable[Offer]:
    yield "--help", "Show this message and exit."
    for parameter in command.params:
        spelt = [*parameter.opts, *parameter.secondary_opts]
        if type(parameter).__name__.endswith("Option") and not set(spelt) & set(given):
            for option in spelt:
                if option.startswith("--"):
                    yield option, (parameter.help or "").split("\n", 1)[0]


def _beginning(word: str, found: Iterable[Offer]) -> list[Offer]:
    mine = {
        w: m for w, m in found if w == FILES or (w.startswith(word) and (not word or w != "--"))
    }
    return list(mine.items())


def _values(parameter: Any, line: _Walked, word: str) -> list[Offer]:
    """What may stand in the place of a parameter."""
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    choices = getattr(annotation, "__members__", None)
    if choices:
        return [(str(choice), "") for choice in choices.values()]
    metavar, name = parameter.metavar or "", parameter.name
    if metavar in ("FILE", "DIR") or name == "paths":
        known = _asked(_recent, line, word) if line.names in (["explain"], ["try"]) else []
        return [(FILES, ""), *known]
    if name in {"form", "log_format"}:
        return [(each, "") for each in ("text", "json")]
    named = re.search(
        r"[A-Z]+", metavar
    )  # `[ID|GROUP]...`: ids offer groups too, where groups are known
    source = _SOURCES.get(named[0] if named else name)
    return _asked(source, line, word) if source else []


def _asked(
    source: Callable[[Session, Sequence[str], str], Iterable[Offer]], line: _Walked, word: str
) -> list[Offer]:
    from filemill.cli.output import Output
    from filemill.cli.reaching import reaches
    from filemill.cli.session import ServerWords, Session

    said = {key: line.said.get(key, "") for key in ("url", "key_file", "ca", "cert")}
    server = ServerWords(**said, plain_http="plain_http" in line.said)
    session = Session(
        config=line.said.get("config"),
        quiet=True,
        verbose=False,
        output=Output.for_process("never", json=False),
        server=server if reaches(" ".join(line.names), server.url, os.environ) else None,
    )
    found = source(session, line.names, word)
    # What a server says of somebody's file is no line of its own, and no command to the terminal.
    return [(text, told if told.isprintable() else "") for text, told in found if _SAFE.match(text)]


@contextlib.contextmanager
def _ledger(session: Session) -> Any:
    """The ledger, or what a server over HTTP answers of it; None where there is none yet."""
    from filemill.cli.reading import open_ledger
    from filemill.model.errors import FilemillError

    try:
        queries = open_ledger(session, patience=_PATIENCE)
    except FilemillError:
        yield None
        return
    with queries:
        yield queries


def _recent(session: Session, names: Sequence[str], word: str) -> Iterable[Offer]:
    """Ids, of the state that the command is about, the latest first, with the file's name."""
    from filemill.cli.reading import short
    from filemill.telemetry.wording import printable

    state = names[0] if names and names[0] in ("dead", "held") else ""
    with _ledger(session) as queries:
        if queries is None:
            return
        if word and not _is_group(word) and session.address() is None:
            yield from ((short(each), "") for each in queries.known_ids(word.lower()))
            return
        if state == "dead":
            yield from _groups_of(session, queries)
        for file in queries.files(state=state, limit=_RECENT).items:
            yield short(file.file), f"{printable(file.name)} ({file.state})"


def _is_group(word: str) -> bool:
    return word[:1].upper() == "D" and word[1:2] in ("", "-")


def _groups(session: Session, _names: Sequence[str], _word: str) -> Iterable[Offer]:
    with _ledger(session) as queries:
        yield from _groups_of(session, queries) if queries is not None else ()


def _groups_of(session: Session, queries: Queries) -> Iterable[Offer]:
    from filemill.queries import group_name

    if session.address() is None:
        fingerprints = queries.fingerprints()
    else:
        fingerprints = [group.fingerprint for group in queries.dead(limit=1).groups]
    yield from ((group_name(each), "group") for each in fingerprints)


def _tags(session: Session, _names: Sequence[str], word: str) -> Iterable[Offer]:
    with _ledger(session) as queries:
        if queries is not None and session.address() is None:
            yield from ((tag, "") for tag in queries.tags(word))
        elif queries is not None:  # a server lists no tags: those of the latest files
            yield from ((t, "") for file in queries.files(limit=_RECENT).items for t in file.tags)
    yield from ((tag, "") for tag in _section(session, "tags"))


def _pipelines(session: Session, _names: Sequence[str], _word: str) -> Iterable[Offer]:
    yield from ((name, "") for name in _section(session, "pipelines"))
    with _ledger(session) as queries:
        if queries is not None:
            yield from ((name, "") for name in queries.pipelines())


def _keys(session: Session, _names: Sequence[str], _word: str) -> Iterable[Offer]:
    with _ledger(session) as queries:
        for key in queries.keys() if queries is not None else ():
            if key.revoked_ns is None:
                yield key.name, key.id
                yield key.id, key.name


def _sessions(session: Session, _names: Sequence[str], _word: str) -> Iterable[Offer]:
    with _ledger(session) as queries:
        for each in queries.sessions() if queries is not None else ():
            yield each.principal, ""
            yield each.id, each.principal


def _roles(_session: Session, _names: Sequence[str], _word: str) -> Iterable[Offer]:
    from filemill.model.access import ROLES

    yield from ((role, ", ".join(sorted(rights))) for role, rights in ROLES.items())


def _source_names(session: Session, _names: Sequence[str], _word: str) -> Iterable[Offer]:
    yield from ((name, "") for name in _section(session, "sources"))


def _principals(session: Session, _names: Sequence[str], _word: str) -> Iterable[Offer]:
    with _ledger(session) as queries:
        if queries is not None:
            known = queries.keys()
            found = {row.principal: "" for row in queries.audit(limit=_RECENT).items}
            yield from (found | {key.principal.name: key.id for key in known}).items()


def _states(_session: Session, names: Sequence[str], _word: str) -> Iterable[Offer]:
    from filemill.queries import STATES, following

    yield from ((state, "") for state in (following.STATES if names == ["tail"] else STATES))


def _components(_session: Session, names: Sequence[str], _word: str) -> Iterable[Offer]:
    if names == ["steps", "show"]:
        from filemill.ports.registry import Registry

        registry = Registry()
        for kind in ("steps", "sources", "sinks"):
            yield from ((name, kind.removesuffix("s")) for name in registry.names(kind))


def _section(session: Session, section: str) -> list[str]:
    """Names in one section of the configuration, read as plain YAML: nothing is judged, no code is asked."""
    import yaml

    if session.address() is not None:
        return []  # another server has another configuration
    config = session.config()
    folder = os.path.join(os.path.dirname(config), "conf.d")
    paths = [config]
    if os.path.isdir(folder):
        paths += sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".yaml"))
    found: list[str] = []
    for path in paths:
        with contextlib.suppress(OSError, yaml.YAMLError), open(path, encoding="utf-8") as file:
            tree = yaml.load(file, getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 -- texts only
            named = tree.get(section) if isinstance(tree, dict) else None
            found += [str(name) for name in named] if isinstance(named, dict) else []
    return found


_SOURCES: dict[str, Callable[[Session, Sequence[str], str], Iterable[Offer]]] = {
    "ID": _recent,
    "GROUP": _groups,
    "KEY": _keys,
    "SESSION": _sessions,
    "ROLE": _roles,
    "SOURCE": _source_names,
    "WHO": _principals,
    "PIPELINE": _pipelines,
    "pipeline": _pipelines,
    "tag": _tags,
    "state": _states,
    "name": _components,
}
"""By what the help calls a place, else by the parameter's name."""
