"""TLS for HTTP: the contexts that certificates, keys and authorities make, or why they make none."""

from __future__ import annotations

import os
import ssl

from filemill.model.errors import UsageError
from filemill.model.plan import TlsPlan

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: all have forward secrecy and authenticated encryption. TLS 1.3 has none other."""


def server_context(tls: TlsPlan) -> ssl.SSLContext:
    """A context of TLS 1.2 or later; with authorities of clients, one that asks every client for a certificate.

    Raises:
        UsageError: a file is missing, cannot be read, or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    # A session that goes on would go on under certificates that are changed since.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    for path in filter(None, (tls.cert, tls.key, tls.client_ca)):
        _check_readable(path)
    try:
        # A key under a passphrase must not make a server ask at a terminal.
        context.load_cert_chain(tls.cert, tls.key, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"`{tls.cert}` and `{tls.key}` are no certificate and its key: {_said(error)}",
            help="both are PEM, the key without a passphrase; the certificate's own comes first, then its chain",
        ) from error
    if tls.client_ca:
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError as error:
            raise UsageError(
                f"`{tls.client_ca}` holds no certificates: {_said(error)}",
                help="`client_ca` is PEM, with the authorities that sign clients' certificates",
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: str) -> ssl.SSLContext:
    """A context that asks others, and takes only certificates that one of these authorities signed.

    Raises:
        UsageError: the file is missing, cannot be read, or holds none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _check_readable(ca, "`web: {oidc: {ca: FILE}}`: a file that the server's user can read")
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise UsageError(
            f"`{ca}` holds no certificates: {_said(error)}",
            help="`ca` is PEM, with the authorities that sign the provider's certificate",
        ) from error
    return context


def state_of_files(tls: TlsPlan) -> tuple[tuple[int, int, int], ...]:
    """What changes when a file does; a file that is not there counts as zeros."""
    found = []
    for path in filter(None, (tls.cert, tls.key, tls.client_ca)):
        try:
            status = os.stat(path)
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _check_readable(
    path: str,
    advice: str = "`web: {tls: {cert: FILE, key: FILE}}`: files that the server's user can read",
) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise UsageError(
            f"`{path}` cannot be read: {error.strerror}",
            help=advice,
        ) from error


def _no_passphrase() -> str:
    raise ValueError("the key needs a passphrase")


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error).lower().replace("_", " ")
