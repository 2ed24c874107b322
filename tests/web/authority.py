"""Certificates made for a test: an authority, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Signs certificates for 127.0.0.1; `path` has its own."""

    def __init__(self, root: Path, name: str = "authority") -> None:
        self.root = root
        self.path = root / f"{name}.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._built(self._name, self._key, days=100)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        signed = made.sign(self._key, hashes.SHA256())
        self.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, days: float = 90) -> tuple[Path, Path]:
        """A certificate and its key, each put in place as a whole."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        made = self._built(subject, key, days).add_extension(
            x509.SubjectAlternativeName([address]), critical=False
        )
        signed = made.sign(self._key, hashes.SHA256())
        plain = serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        paths = (self.root / f"{name}.crt", self.root / f"{name}.key")
        for path, data in zip(paths, (signed.public_bytes(pem), private), strict=True):
            draft = path.with_suffix(".new")
            draft.write_bytes(data)
            draft.chmod(0o600)
            os.rename(draft, path)
        return paths

    def _built(self, subject, key, days):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=days))
        )
