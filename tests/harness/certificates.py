"""Authorities and certificates made on the spot with the openssl command; nothing of them is ever committed."""

from __future__ import annotations

import atexit
import functools
import ipaddress
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import grpc

SERVER_NAMES = "DNS:localhost,IP:127.0.0.1"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
DAYS = 2
EXPIRED = -1  # days; openssl allows it for tests of expiry


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _san(names: tuple[str, ...]) -> str:
    """The openssl notation of "relay", "127.0.0.1" and "spiffe://apirelay/relay"."""

    def kind(name: str) -> str:
        if "://" in name:
            return "URI"
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return "DNS"
        return "IP"

    return ",".join(f"{kind(name)}:{name}" for name in names)


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, as PEM."""

    cert: bytes
    key: bytes


class Authority:
    """A certificate authority in a folder of its own: `file` is what to trust."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "ca.pem"
        self._key = folder / "ca-key.pem"
        _openssl("req", "-x509", *NEW_KEY, "-days", str(DAYS), "-subj", f"/CN={name}", "-keyout", str(self._key), "-out", str(self.file))

    def issue(self, cert: Path, key: Path, san: str = SERVER_NAMES, days: int = DAYS) -> None:
        """A new certificate and key for these names, each put in place of the file that is there as a whole."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            new_cert, new_key, request, names = (Path(folder, n) for n in ("cert", "key", "request", "names"))
            names.write_text(f"subjectAltName={san}\n")
            _openssl("req", *NEW_KEY, "-subj", "/CN=test", "-keyout", str(new_key), "-out", str(request))
            _openssl("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._key),
                     "-set_serial", str(secrets.randbits(64)), "-days", str(days), "-extfile", str(names), "-out", str(new_cert))
            os.replace(new_key, key)
            os.replace(new_cert, cert)

    def identity(self, *names: str, days: int = DAYS) -> Identity:
        """Of a caller with these names."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            cert, key = Path(folder, "cert"), Path(folder, "key")
            self.issue(cert, key, _san(names), days)
            return Identity(cert.read_bytes(), key.read_bytes())

    def context(self) -> ssl.SSLContext:
        """A client's, that trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.file))

    def grpc_credentials(self, identity: Identity | None = None) -> grpc.ChannelCredentials:
        """A client's, that trusts this authority and shows `identity`, if any."""
        if identity is None:
            return grpc.ssl_channel_credentials(self.file.read_bytes())
        return grpc.ssl_channel_credentials(self.file.read_bytes(), identity.key, identity.cert)


def self_signed(folder: Path, *names: str) -> Identity:
    cert, key = folder / "self.pem", folder / "self-key.pem"
    _openssl("req", "-x509", *NEW_KEY, "-days", str(DAYS), "-subj", "/CN=test", "-addext", f"subjectAltName={_san(names)}",
             "-keyout", str(key), "-out", str(cert))
    return Identity(cert.read_bytes(), key.read_bytes())


@functools.cache
def authority() -> Authority:
    """One for all suites of a run. Every client of this process trusts it, as those of a machine trust the system's."""
    folder = Path(tempfile.mkdtemp(prefix="test-authority-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found = Authority(folder)
    os.environ["SSL_CERT_FILE"] = str(found.file)
    return found


@functools.cache
def client_context() -> ssl.SSLContext:
    return authority().context()
