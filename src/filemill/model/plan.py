"""The compiled plan: what configuration becomes, and all that the path of a file ever sees of it."""

from __future__ import annotations

from typing import Any

import msgspec

from filemill.model.tags import TagExpression


class RetryPlan(msgspec.Struct, frozen=True):
    """Full-jitter exponential backoff; `attempts` counts the first try; seconds."""

    attempts: int = 5
    """0: only `within` ends them."""
    min: float = 2.0
    max: float = 300.0
    within: float | None = None
    """No retry begins later than that after the first failure."""

    def spent(self, attempt: int) -> bool:
        """Say whether this was the last attempt that is allowed."""
        return self.attempts > 0 and attempt >= self.attempts


class StepPlan(msgspec.Struct, frozen=True):
    """One step of a pipeline: which component, with which options."""

    id: str
    """Unique in its pipeline: the sibling `id:`, else the step's name, else name-2, name-3..."""
    uses: str
    """Registry name (`read_csv`) or dotted path (`steps.add_vat`)."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """Builtins only; the step's own `Options` model has already accepted them."""
    guard: TagExpression | None = None
    retry: RetryPlan | None = None
    timeout: float = 600.0
    io: bool | None = None
    concurrency: int | None = None
    routes: tuple[RoutePlan, ...] = ()
    """Only of `route`: its branches, in reading order."""


class RoutePlan(msgspec.Struct, frozen=True):
    """One branch of a route. `when` None is `else`."""

    when: TagExpression | None
    sinks: tuple[str, ...] = ()
    """Empty with no steps: `drop`."""
    steps: tuple[StepPlan, ...] = ()
    all_matches: bool = False
    """`mode: all`: a record goes to every branch that matches, not only the first."""


class Tolerance(msgspec.Struct, frozen=True):
    """How many bad records a file may have: `count`, or `share` of its records (0.01 is 1%)."""

    count: int = 0
    share: float | None = None

    def allows(self, bad: int, records: int) -> bool:
        """Say whether `bad` of `records` is within tolerance."""
        return bad <= (self.count if self.share is None else self.share * records)


class PipelinePlan(msgspec.Struct, frozen=True):
    """One pipeline: which files, which steps."""

    name: str
    when: TagExpression
    steps: tuple[StepPlan, ...]
    tolerance: Tolerance = Tolerance()
    exclusive: bool = False
    priority: int = 0
    order_by: str = ""
    """Template of the key within which files are processed in order; empty: in no order."""
    timeout: float | None = None
    retry: RetryPlan = RetryPlan()


class ScannerPlan(msgspec.Struct, frozen=True):
    """One scanner; every file must pass all of them."""

    kind: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class SinkPlan(msgspec.Struct, frozen=True):
    """One named sink."""

    name: str
    kind: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class SourcePlan(msgspec.Struct, frozen=True):
    """One named source."""

    name: str
    kind: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    tags: tuple[str, ...] = ()
    """Tags it gives, `{dir}` not yet filled in."""
    scan: bool = True
    """False: its files are not scanned, whatever scanners there are."""


class TagRulePlan(msgspec.Struct, frozen=True):
    """One way to earn a tag: every key that is set must hold; a list means any of its values.

    `header` means the header contains all of them. `size` is (least, most) bytes, either None.
    """

    tag: str
    name: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    mime: tuple[str, ...] = ()
    size: tuple[int | None, int | None] | None = None
    source: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    tagger: str | None = None


class RetentionPlan(msgspec.Struct, frozen=True):
    """How long what is at an end is kept, in seconds; None: forever."""

    content: float | None = 30 * 86400.0
    ledger: float | None = 90 * 86400.0
    dead: float | None = None
    audit: float | None = 365 * 86400.0


class EncryptionPlan(msgspec.Struct, frozen=True):
    """How what lies in the data directory is encrypted."""

    recipients: tuple[str, ...]
    """For whom: whoever has the identity of one of them can read it."""
    workspace: str
    """Absolute; a folder in memory, where workers have the plain bytes of what they work on."""
    identity: str = ""
    """Absolute path of the identity file; empty: it is the secret of this name."""
    secret: str = ""


class TlsPlan(msgspec.Struct, frozen=True):
    """The files that TLS needs, as absolute paths."""

    cert: str
    key: str
    client_ca: str = ""
    """Who signs clients' certificates; empty: clients need none."""


class LimitsPlan(msgspec.Struct, frozen=True):
    """How much one address or principal may ask of HTTP; 0: without limit."""

    requests: int = 5000
    """A second, of one address and of one principal."""
    failed_keys: int = 10
    """From one address, before it has to wait."""
    uploads: int = 512
    """At once, of one principal; at least one."""
    bytes_per_day: int = 0
    """Of one principal."""
    slowest: int = 100
    """Bytes a second that an upload has to come with."""


class ClaimPlan(msgspec.Struct, frozen=True):
    """What the values of one claim of an identity token stand for; values that are not named stand for nothing."""

    claim: str
    map: dict[str, tuple[str, ...]] = {}


class OidcPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The identity provider whose word is taken for who somebody is."""

    issuer: str
    audience: str
    """Whom its access tokens must be meant for."""
    roles: ClaimPlan
    sources: ClaimPlan | None = None
    """Which sources somebody is for; None: that is not told, all."""
    pipelines: ClaimPlan | None = None
    client_id: str = ""
    """Under which browsers log in; empty: they do not, only bearer tokens count."""
    client_secret: str = ""
    scopes: tuple[str, ...] = ("openid",)
    """What is asked for when a browser logs in."""
    ca: str = ""
    """File with the authorities that sign its certificate; empty: those of the machine."""


class SessionsPlan(msgspec.Struct, frozen=True):
    """How long a browser stays logged in, in seconds."""

    idle: float = 3600.0
    longest: float = 43_200.0


class WebPlan(msgspec.Struct, frozen=True):
    """Where and how HTTP is served."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: nowhere."""
    hosts: tuple[str, ...] = ()
    """Names under which it may be asked for, besides those of its own address."""
    behind_proxy: bool = False
    """Something in front of it speaks TLS, and says truly who asks."""
    tls: TlsPlan | None = None
    limits: LimitsPlan = LimitsPlan()
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses and networks whose X-Forwarded-For is believed, with `behind_proxy`."""
    oidc: OidcPlan | None = None
    sessions: SessionsPlan = SessionsPlan()

    @property
    def is_private(self) -> bool:
        """Browsers reach it under TLS only, its own or a proxy's."""
        return self.tls is not None or self.behind_proxy

    @property
    def is_loopback(self) -> bool:
        """Only processes of this machine reach it."""
        return self.host in LOOPBACK

    @property
    def url(self) -> str:
        """Where whoever is on this machine asks; empty when nothing is served."""
        if not self.port:
            return ""
        if self.tls is not None and self.hosts:  # a certificate is for names
            return f"https://{self.hosts[0]}:{self.port}"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 -- compared, not bound
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Plan(msgspec.Struct, frozen=True):
    """One revision of the configuration, compiled. Paths are absolute."""

    revision: int
    root: str
    """Folder of the main config file; first on a worker's import path."""
    data: str
    sources: tuple[SourcePlan, ...] = ()
    tags: tuple[TagRulePlan, ...] = ()
    pipelines: tuple[PipelinePlan, ...] = ()
    sinks: tuple[SinkPlan, ...] = ()
    unrouted: str = "hold"
    failed_folder: str = ""
    """Absolute; copies of what failed go there. Empty: nowhere."""
    timezone: str = "UTC"
    durability: str = "power"
    workers: int = 1
    chunk_size: int = 16 << 20
    max_record: int = 4 << 20
    queue_files: int | None = None
    """Files taken and not at an end before intake waits; None: no limit."""
    queue_bytes: int | None = None
    """The same in bytes."""
    reserve: int | None = None
    """Bytes that the data directory's disk must have free before files are taken; None: as its size suggests."""
    worker_memory: int = 0
    """Bytes that a worker, and what its steps start, may hold; 0: no limit."""
    max_work: int = 10 << 30
    """Bytes that a step may put into its work folder."""
    max_kept: int = 1 << 30
    """Bytes that the kept input of one failed run may take; 0: none is kept."""
    worker_environment: tuple[str, ...] | None = None
    """Globs of the environment variables that workers see; None: all but `secrets`."""
    secrets: tuple[str, ...] = ()
    """Names of the environment variables that the configuration reads as secrets."""
    scan: tuple[ScannerPlan, ...] = ()
    """Every file passes these before anything parses it; none: nothing is scanned."""
    two_people: bool = False
    """A quarantined file goes on only when a second person says so, too."""
    retention: RetentionPlan = RetentionPlan()
    modules: dict[str, bytes] = {}
    """Texts of the modules of users that this revision names, by path below `root`; workers import these."""
    encryption: EncryptionPlan | None = None
    """None: what lies in the data directory is plain."""
    grace: float = 60.0
    """Seconds that running runs get to finish when the server is told to stop."""
    web: WebPlan = WebPlan()

    def for_workers(self) -> Plan:
        """The plan as processes see it that run users' code: without what only the server and its face may know."""
        return msgspec.structs.replace(self, web=WebPlan())

    @property
    def scratch(self) -> str:
        """Where workers have their work folders: in the data directory, or with encryption in memory."""
        return self.data if self.encryption is None else self.encryption.workspace

    def pipeline(self, name: str) -> PipelinePlan:
        """The pipeline of that name; StopIteration if there is none."""
        return next(p for p in self.pipelines if p.name == name)

    def scans(self, source: str) -> bool:
        """Say whether files of this source are scanned; those of a source that is not known are."""
        return bool(self.scan) and all(each.scan for each in self.sources if each.name == source)

    def sink(self, name: str) -> SinkPlan:
        """The sink of that name; StopIteration if there is none."""
        return next(s for s in self.sinks if s.name == name)
