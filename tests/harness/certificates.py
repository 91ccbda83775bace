"""Authorities and certificates made on the spot with the openssl command; nothing of them is ever committed."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

SERVER_NAMES = "DNS:localhost,IP:127.0.0.1"


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """A certificate authority in a folder of its own: `file` is what to trust."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "ca.pem"
        self._key = folder / "ca-key.pem"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", str(self._key), "-out", str(self.file))

    def issue(self, cert: Path, key: Path, san: str = SERVER_NAMES) -> None:
        """A new certificate and key for these names, each put in place of the file that is there as a whole."""
        new_cert, new_key, request, names = (self.folder / n for n in ("cert.new", "key.new", "request.new", "names.new"))
        names.write_text(f"subjectAltName={san}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test",
                 "-keyout", str(new_key), "-out", str(request))
        _openssl("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._key), "-CAcreateserial",
                 "-days", "2", "-extfile", str(names), "-out", str(new_cert))
        os.replace(new_key, key)
        os.replace(new_cert, cert)

    def context(self) -> ssl.SSLContext:
        """A client's, that trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.file))
