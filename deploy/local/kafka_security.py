"""The secure side of the local broker: a CA, certificates, users and their passwords.

All of it is made on this machine for this machine, and lies in the folder `secure`, for its owner
alone.
"""

import json
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trouble import LocalError

MECHANISMS: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
USER: Final = "pubner"
_DAYS: Final = "3650"


@dataclass(frozen=True, slots=True, repr=False)
class Security:
    """The user of the secure listeners, and the folder of the certificates."""

    folder: Path
    password: str

    def scram(self, mechanism: str) -> str:
        """Return what `StorageTool --add-scram` takes for a mechanism."""
        return f"{mechanism}=[name={USER},password={self.password}]"

    def broker_settings(self) -> Sequence[str]:
        """Return the broker's lines for its listeners SECURE (SASL over TLS) and MTLS."""
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        plain = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{USER}="{self.password}";'
        )
        bearer = (
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
            f'unsecuredLoginStringClaim_sub="{USER}";'
        )
        of = "listener.name.secure"
        return (
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self.folder / 'broker.pem'}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={self.folder / 'ca.pem'}",
            f"{of}.ssl.client.auth=requested",
            "listener.name.mtls.ssl.client.auth=required",
            f"{of}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            f"{of}.plain.sasl.jaas.config={plain}",
            f"{of}.scram-sha-256.sasl.jaas.config={scram}",
            f"{of}.scram-sha-512.sasl.jaas.config={scram}",
            f"{of}.oauthbearer.sasl.jaas.config={bearer}",
        )

    def describe(self, sasl_ssl: str, mtls: str, folder: Path) -> None:
        """Write `secure.json`: where to connect to and which files to use, no secret itself."""
        found = {
            "bootstrap": sasl_ssl,
            "mtls_bootstrap": mtls,
            "mechanisms": ["PLAIN", *MECHANISMS, "OAUTHBEARER"],
            "username": USER,
            "ca_file": str(self.folder / "ca.pem"),
            "certificate_file": str(self.folder / "client.pem"),
            "key_file": str(self.folder / "client.key"),
            "password_file": str(self.folder / "password"),
        }
        (folder / "secure.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def read_security(folder: Path) -> Security:
    """Return the broker's user, whose password is drawn the first time."""
    secure = folder / "secure"
    secure.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = secure / "password"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(18) + "\n", "ascii")
    return Security(secure, file.read_text("ascii").strip())


def make_security(folder: Path, host: str) -> Security:
    """Return the broker's security, whose certificates for `host` are made the first time.

    :raises LocalError: openssl is missing or fails.
    """
    security = read_security(folder)
    secure = security.folder
    if (secure / "broker.pem").exists():
        return security
    new_key = ["-newkey", "rsa:2048", "-noenc", "-days", _DAYS]
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    _openssl(
        secure, "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem",
        "-subj", "/CN=pubner local CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    for name, common, more in (
        ("client", USER, ["-addext", "extendedKeyUsage=clientAuth"]),
        ("broker", "localhost", ["-addext", f"subjectAltName=DNS:localhost,IP:{host}"]),
    ):
        _openssl(
            secure, "req", "-x509", *authority, *new_key, "-keyout", f"{name}.key",
            "-out", f"{name}.crt", "-subj", f"/CN={common}",
            "-addext", "basicConstraints=critical,CA:FALSE", *more,
        )  # fmt: skip
    client = (secure / "client.crt").read_text("ascii")
    (secure / "client.pem").write_text(client, "ascii")
    parts = [(secure / f"broker.{part}").read_text("ascii") for part in ("key", "crt")]
    whole = secure / ".broker.pem"
    whole.touch(mode=0o600)
    whole.write_text("".join(parts), "ascii")
    whole.rename(secure / "broker.pem")
    return security


def _openssl(folder: Path, *words: str) -> None:
    try:
        done = subprocess.run(
            ["openssl", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise LocalError("openssl is not found, to make certificates; install it") from None
    if done.returncode:
        raise LocalError(f"openssl {words[0]} failed: {done.stderr.strip()[-300:]}")
