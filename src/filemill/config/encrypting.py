"""What encryption asks of the rest of a configuration: nothing plain may be left beside what is encrypted unsaid."""

from __future__ import annotations

from filemill.config.elements import Draft
from filemill.config.positions import Map
from filemill.config.problems import Problems
from filemill.encryption.age import check_recipient
from filemill.model.errors import UsageError


def check_encryption(draft: Draft, problems: Problems) -> None:
    """Judge recipients, and what would be plain although content is encrypted."""
    _check_sinks(draft, problems)
    encryption = draft.settings.encryption
    entry = draft.tree.entries.get("encryption")
    if encryption is None or entry is None:
        return
    node = entry.value
    inner = node.get("recipients") if isinstance(node, Map) else None
    place = node.place if inner is None else inner.place
    try:
        for text in encryption.recipients:
            check_recipient(text)
    except UsageError as error:
        problems.error("bad-recipient", error.message, place, error.help)
    failed = draft.tree.entries.get("failed")
    if draft.settings.failed is not None and failed is not None:
        problems.error(
            "failed-plain",
            "`failed` wants plain copies, and with `encryption` the server has none",
            failed.value.place,
            "remove `failed:`, and look at what failed with `filemill dead show` and `filemill dead export`",
        )
    for sink in draft.sinks:
        options = sink.options
        if sink.kind == "folder" and getattr(options, "encrypt", ()) is None:
            problems.error(
                "sink-plain",
                f"sink `{sink.name}` does not say whether its outputs are encrypted",
                sink.key.place,
                "write `encrypt: age1...` for who reads them, or `encrypt: false` where they are to be plain",
            )


def _check_sinks(draft: Draft, problems: Problems) -> None:
    for sink in draft.sinks:
        try:
            for text in getattr(sink.options, "encrypt", None) or ():
                check_recipient(text)
        except UsageError as error:
            problems.error("bad-recipient", error.message, sink.key.place, error.help)
