"""Reads a merged document into a Draft and judges everything in it that one part says about another."""

from __future__ import annotations

from filemill.config.asking import Asker
from filemill.config.circles import check_circles
from filemill.config.components import ComponentReader
from filemill.config.elements import Draft, steps_in
from filemill.config.encrypting import check_encryption
from filemill.config.folders import check_folders
from filemill.config.hiding import HidingCheck
from filemill.config.judging import judge
from filemill.config.mistakes import quoted
from filemill.config.models import SECTIONS, SETTINGS, Settings
from filemill.config.pipelines import ChainCheck, read_pipelines
from filemill.config.positions import Map, Node, Place, Text, follow, plain
from filemill.config.problems import Problems, did_you_mean
from filemill.config.scanning import ScanReader, warn_of_strangers
from filemill.config.secrets import MASK, Secrets, secret_name
from filemill.config.stepping import StepReader, place_of_text
from filemill.config.tagging import TagCheck, read_rules
from filemill.config.web import is_safe
from filemill.model.errors import UsageError
from filemill.model.plan import TlsPlan
from filemill.ports.describe import Describe
from filemill.ports.registry import Registry


class Checker:
    """Checks one document. `read` first, then `check`."""

    def __init__(self, root: str, registry: Registry, secrets: Secrets, problems: Problems) -> None:
        self.root = root
        self.registry = registry
        self.secrets = secrets
        self.problems = problems

    def read(self, tree: Map) -> Draft:
        """Every part of the document, as far as it can be read."""
        draft = Draft(self.root, self._settings(tree), tree)
        components = ComponentReader(self.root, self.registry, self.secrets, self.problems)
        draft.sources = components.read("sources", tree)
        draft.sinks = components.read("sinks", tree)
        draft.scanners = self._scanners().read(tree)
        draft.rules = read_rules(tree, self.problems)
        steps = StepReader(self.root, self.registry, self.secrets, self.problems)
        draft.pipelines = read_pipelines(tree, steps, self.problems)
        return draft

    def check(
        self, draft: Draft, data: str, describe: Describe | None, *, strict: bool = False
    ) -> None:
        """Everything that concerns more than one part; `strict` says what may be meant as it is, too."""
        if describe is not None:
            Asker(draft, self.problems).ask(describe)
            self._scanners().check(draft.scanners)
        if strict:
            warn_of_strangers(draft, self.problems)
        chains = ChainCheck(self.problems)
        for pipeline in draft.pipelines:
            chains.run(pipeline)
        self._sinks(draft)
        self._rule_sources(draft)
        self._claims(draft)
        if describe is None:
            self._quoted_names(draft)
        TagCheck(draft, self.problems).run()
        check_circles(draft, self.problems)
        HidingCheck(draft, self.problems).run()
        check_folders(draft, data, self.problems)
        check_encryption(draft, self.problems)
        if not draft.pipelines and draft.tree.get("pipelines") is None:
            message = "there is no pipeline: every file will be held"
            self.problems.warn("no-pipelines", message, draft.tree.place, "add `pipelines:`")

    def _scanners(self) -> ScanReader:
        return ScanReader(self.root, self.registry, self.secrets, self.problems)

    def _settings(self, tree: Map) -> Settings:
        known = [*SETTINGS, *SECTIONS]
        for key, entry in tree.entries.items():
            if key not in known:
                message = f"no key `{key}` at the top of a configuration"
                advice = did_you_mean(key, known) or f"keys: {', '.join(known)}"
                self.problems.error("unknown-key", message, entry.key.place, advice)
        own = Map({k: e for k, e in tree.entries.items() if k in SETTINGS}, tree.place)
        value = {key: each for key, each in plain(own).items() if each is not None}
        if isinstance(value.get("web"), dict):
            value["web"] = self.secrets.resolved(own.entries["web"].value)
            self._client_secret(own)
        judged = judge(
            Settings,
            value,
            node=own,
            place=tree.place,
            problems=self.problems,
            what="top level",
            by_section=True,
            root=self.root,
        )
        if judged is None:
            return Settings.model_validate({})
        retry = judged.defaults.retry
        if retry.min > retry.max:
            place = follow(own, ("defaults", "retry"))[0].place
            message = "`min` of a retry is longer than its `max`"
            self.problems.error("bad-value", message, place, "swap them")
        web = judged.web.plan(self.root)
        if not is_safe(web):
            place = follow(own, ("web", "listen"))[0].place
            message = f"`{judged.web.listen}` is open to the network without TLS: keys could be read on their way"
            advice = (
                "listen on 127.0.0.1, give `tls: {cert: FILE, key: FILE}`, "
                "or say `behind_proxy: true` where a proxy in front speaks TLS"
            )
            self.problems.error("open-without-tls", message, place, advice)
        if web.port and web.tls is not None:
            self._tls(web.tls, own)
        if web.port and web.oidc is not None and web.oidc.ca:
            self._authorities(web.oidc.ca, own)
        return judged

    def _tls(self, tls: TlsPlan, own: Map) -> None:
        """The files make a context, now."""
        from filemill.config.certificates import server_context  # noqa: PLC0415 -- TLS is seldom

        try:
            server_context(tls)
        except UsageError as error:
            place = follow(own, ("web", "tls"))[0].place
            self.problems.error("bad-certificate", error.message, place, error.help)

    def _authorities(self, ca: str, own: Map) -> None:
        """The file makes a context, now."""
        from filemill.config.certificates import client_context  # noqa: PLC0415 -- as above

        try:
            client_context(ca)
        except UsageError as error:
            place = follow(own, ("web", "oidc", "ca"))[0].place
            self.problems.error("bad-certificate", error.message, place, error.help)

    def _client_secret(self, own: Map) -> None:
        """It stands nowhere in a file that many read."""
        path = ("web", "oidc", "client_secret")
        node, _, rest = follow(own, path)
        if not rest and secret_name(node) is None:
            message = "the client's secret is written out"
            advice = "write `client_secret: {secret: NAME}`, and set NAME or NAME_FILE"
            if isinstance(node, Text) and node.text:
                self._blot_out(node)
            self.problems.error("secret-written", message, node.place, advice)

    def _blot_out(self, secret: Text) -> None:
        """Neither in a message nor in the line that is shown with it."""
        self.problems.hidden.append(secret.text)
        lines = self.problems.lines.get(secret.place.file, [])
        if 0 < secret.place.line <= len(lines):
            number = secret.place.line - 1
            lines[number] = lines[number].replace(secret.text, MASK)

    def _claims(self, draft: Draft) -> None:
        """What claims of an identity provider stand for is there."""
        oidc = draft.settings.web.oidc
        if oidc is None:
            return
        known = {
            "sources": [each.name for each in draft.sources],
            "pipelines": [each.name for each in draft.pipelines],
        }
        for kind, name in oidc.unknown(known["sources"], known["pipelines"]):
            singular = kind.removesuffix("s")
            place = follow(draft.tree, ("web", "oidc", kind, "map"))[0].place
            otherwise = f"{kind}: {', '.join(known[kind]) or 'none'}"
            advice = did_you_mean(name, known[kind]) or otherwise
            self.problems.error(
                f"unknown-{singular}", f"no {singular} `{name}` (web: oidc)", place, advice
            )

    def _sinks(self, draft: Draft) -> None:
        """Every name of a sink is one; every sink is named."""
        tree = draft.tree.get("sinks")
        known = list(tree.entries) if isinstance(tree, Map) else []
        used: set[str] = set()
        for pipeline in draft.pipelines:
            for step in steps_in(pipeline.steps):
                named = [(sink.text, sink.place) for b in step.branches for sink in b.sinks]
                if not step.branches:
                    named = [
                        (sink, place_of_text(step.value, sink, step.key.place))
                        for sink in step.uses_of.sinks
                    ]
                for name, place in named:
                    used.add(name)
                    if name not in known:
                        self._unknown_sink(name, place, known, step.where)
        for sink in draft.sinks:
            if sink.name not in used and draft.pipelines:
                message = f"nothing is sent to the sink `{sink.name}`"
                advice = "name it in `route` or `write`, or remove it"
                self.problems.warn("unused-sink", message, sink.key.place, advice)

    def _unknown_sink(self, name: str, place: Place, known: list[str], where: str) -> None:
        otherwise = f"sinks: {', '.join(known)}" if known else "add it below `sinks:`"
        advice = did_you_mean(name, known) or otherwise
        self.problems.error("unknown-sink", f"no sink `{name}` ({where})", place, advice)

    def _rule_sources(self, draft: Draft) -> None:
        """`source:` of a tag rule names sources."""
        known = [source.name for source in draft.sources]
        for rule in draft.rules:
            for name in rule.model.source:
                if name not in known and name != "cli":
                    node = rule.node.get("source")
                    place = place_of_text(node, name, rule.key.place) if node else rule.key.place
                    advice = did_you_mean(name, known) or f"sources: {', '.join(known) or 'none'}"
                    message = f"no source `{name}` (tag {rule.tag})"
                    self.problems.error("unknown-source", message, place, advice)

    def _quoted_names(self, draft: Draft) -> None:
        """`country: 'DE'` where a condition stands: YAML took the quotes, and `DE` is a column's name."""
        for step in draft.every_step():
            for use in step.uses_of.expressions:
                node, key, _ = follow(step.value, use.where)
                if not (use.predicate and key is not None and _is_word_in_single_quotes(node)):
                    continue
                meant = quoted(f"{key.text} = '{use.sql}'")
                message = (
                    f"`{use.sql}` is a column here, not a text: YAML took the quotes ({step.where})"
                )
                advice = f"for a condition write {meant}, for a column {use.sql} without quotes"
                self.problems.warn("quoted-name", message, node.place, advice)


def _is_word_in_single_quotes(node: Node) -> bool:
    return isinstance(node, Text) and node.style == "'" and node.text.isidentifier()
