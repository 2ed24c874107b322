"""TLS: nothing else is spoken where it is set, renewed files are taken while it runs, clients may need certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess

import httpx2
import pytest
from authority import Authority
from senders import command
from sites import CONFIG, Site

import serving

TLS = "web: {tls: {cert: web.crt, key: web.key%s}}\n"


class Secured(Site):
    """A site under TLS whose clients trust `authority`."""

    def __init__(self, root, client_ca=""):
        super().__init__(root, CONFIG + TLS % (f", client_ca: {client_ca}" if client_ca else ""))
        self.url = f"https://127.0.0.1:{self.port}"
        self.authority = Authority(root)
        self.authority.sign("web")

    def trusting(self):
        return ssl.create_default_context(cafile=str(self.authority.path))

    def serial(self):
        """Of the certificate that a new connection gets."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        with self.trusting().wrap_socket(raw, server_hostname="127.0.0.1") as secured:
            return secured.getpeercert()["serialNumber"]

    def told(self, words: bytes):
        return words in (self.root / "server.log").read_bytes()


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    with Secured(tmp_path_factory.mktemp("tls")).running() as site:
        yield site


@pytest.fixture(scope="module")
def mutual(tmp_path_factory):
    root = tmp_path_factory.mktemp("mutual")
    Authority(root, "clients")
    with Secured(root, "clients.pem").running() as site:
        yield site


def test_files_are_sent_under_tls_and_browsers_are_told_to_stay_with_it(secured):
    headers = {"authorization": f"Bearer {secured.key}"}
    with httpx2.Client(base_url=secured.url, headers=headers, verify=secured.trusting()) as client:
        answer = client.post("/upload", files={"file": ("a.csv", b"a,b\n1,2\n")})
        assert answer.status_code == 201
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_without_tls_it_says_nothing(secured):
    with socket.create_connection(("127.0.0.1", secured.port), timeout=20) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in connection.recv(65536)


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.TLSVersion.TLSv1_1, None),
        (ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(secured, version, spoken):
    context = secured.trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    raw = socket.create_connection(("127.0.0.1", secured.port), timeout=20)
    if spoken is None:
        with pytest.raises(ssl.SSLError), raw:
            context.wrap_socket(raw, server_hostname="127.0.0.1")
        return
    with context.wrap_socket(raw, server_hostname="127.0.0.1") as made:
        assert made.version() == spoken
        assert "GCM" in made.cipher()[0] or "CHACHA20" in made.cipher()[0]


def test_renewed_files_are_taken_and_broken_ones_are_not(secured):
    before = secured.serial()
    key = secured.root / "web.key"
    good = key.read_bytes()
    key.write_bytes(b"this is no key")
    serving.until(lambda: secured.told(b"the certificate in use is kept"))
    assert secured.serial() == before
    key.write_bytes(good)
    secured.authority.sign("web")
    serving.until(lambda: secured.serial() != before)
    serving.until(lambda: secured.told(b"the certificate was renewed"))


def got(site, certificate=None):
    context = site.trusting()
    if certificate:
        context.load_cert_chain(*certificate)
    try:
        with httpx2.Client(verify=context, timeout=20) as client:
            return client.get(f"{site.url}/livez").status_code
    except (httpx2.TransportError, ssl.SSLError):
        return None


def test_with_client_ca_only_clients_with_a_certificate_of_it_get_in(mutual):
    clients = Authority(mutual.root, "clients")  # another one of that name
    stranger = clients.sign("stranger")
    assert got(mutual) is None
    # The file is another one now: whom the old one signed is a stranger, whom the new one signed is let in.
    serving.until(lambda: mutual.told(b"renewed"))
    assert got(mutual, stranger) == 200
    assert got(mutual) is None
    assert got(mutual, mutual.authority.sign("other")) is None
    both = mutual.root / "both.pem"
    both.write_bytes(b"".join(each.read_bytes() for each in stranger))
    asked = {
        "FILEMILL_URL": mutual.url,
        "FILEMILL_KEY": mutual.key,
        "FILEMILL_CA": str(mutual.authority.path),
    }
    command(mutual.root, "status", code=75, **asked)
    out, _ = command(mutual.root, "status", "--cert", "both.pem", **asked)
    assert out.startswith("server  runs")
    Authority(mutual.root, "clients")
    serving.until(lambda: got(mutual, stranger) is None)


def filemill(site, *words, environ=None):
    """The exit code, and all that it says in one line."""
    done = subprocess.run(
        [*serving.FILEMILL, *words],
        cwd=site.root,
        env=environ or site.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"web.crt": None}, "web.crt` cannot be read: No such file"),
        ({"web.key": b"nothing"}, "are no certificate and its key"),
        ({"web.crt": "other.crt"}, "are no certificate and its key: key values mismatch"),
        ({"clients.pem": b"nothing"}, "holds no certificates"),
    ],
)
def test_check_says_what_is_wrong_with_the_files_and_where(tmp_path, files, said):
    site = Secured(tmp_path, "clients.pem")
    Authority(tmp_path, "clients")
    site.authority.sign("other")
    assert filemill(site, "check")[0] == 0
    for name, content in files.items():
        path = tmp_path / name
        if content is None:
            path.unlink()
        else:
            path.write_bytes(
                (tmp_path / content).read_bytes() if isinstance(content, str) else content
            )
    code, shown = filemill(site, "check")
    assert code != 0
    assert said in shown
    assert f"filemill.yaml:{len(CONFIG.splitlines()) + 1}:" in shown


def test_under_tls_any_address_may_be_listened_on(tmp_path):
    site = Secured(tmp_path)
    everywhere = site.environ | {"FILEMILL__WEB__LISTEN": "0.0.0.0:8600"}
    assert filemill(site, "check", environ=everywhere)[0] == 0
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    code, shown = filemill(site, "check", environ=everywhere)
    assert code != 0
    assert "without TLS" in shown


@pytest.mark.parametrize(
    ("days", "said"), [(90, "it lasts 89 days"), (10, "it ends in 9 days"), (-0.5, "it is over")]
)
def test_doctor_says_how_long_the_certificate_lasts_and_who_can_read_its_key(tmp_path, days, said):
    site = Secured(tmp_path)
    _, key = site.authority.sign("web", days=days)
    key.chmod(0o644)
    _, shown = filemill(site, "doctor")
    assert said in shown
    assert "others may read its key" in shown


def test_the_command_line_trusts_whom_it_is_told_to(secured, tmp_path):
    asked = {"FILEMILL_URL": secured.url, "FILEMILL_KEY": secured.key}
    _, err = command(tmp_path, "status", code=2, **asked)
    assert "is not trusted" in err
    assert "--ca" in err
    (tmp_path / "sent.csv").write_text("a,b\n1,2\n")
    for words in (["upload", "sent.csv", "--source", "upload", "--wait"], ["status"]):
        out, _ = command(tmp_path, *words, "--ca", str(secured.authority.path), **asked)
        assert "done" in out
    _, err = command(tmp_path, "status", "--ca", "sent.csv", code=2, **asked)
    assert "sent.csv has no certificates" in err
