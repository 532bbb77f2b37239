"""The certificate that signs films: an operator's own, or one that this machine made for itself."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CHAIN, KEY, ANCHOR = "chain.pem", "key.pem", "ca.pem"
_VALID = datetime.timedelta(days=3650)
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_NO_USE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


class UnusableCertificate(Exception):
    """There is nothing to sign with."""


@dataclass(frozen=True)
class SigningCertificate:
    """`chain` (PEM, the signer's own first) and `key` (PEM, PKCS #8); `algorithm` is C2PA's word."""

    chain: bytes
    key: bytes
    algorithm: str


def read_certificate(chain: Path, key: Path) -> SigningCertificate:
    """An operator's files; the key may have any unencrypted PEM form. Raises UnusableCertificate."""
    try:
        body = chain.read_bytes()
        certificates = x509.load_pem_x509_certificates(body)
        secret = serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableCertificate(f"{chain} and {key} cannot be read: {error}") from error
    if isinstance(secret, ec.EllipticCurvePrivateKey) and secret.curve.name in _CURVES:
        algorithm = _CURVES[secret.curve.name]
    elif isinstance(secret, ed25519.Ed25519PrivateKey):
        algorithm = "ED25519"
    elif isinstance(secret, rsa.RSAPrivateKey):
        algorithm = "PS256"
    else:
        raise UnusableCertificate(f"{key} must be a key of P-256, P-384, P-521, Ed25519 or RSA")
    if secret.public_key() != certificates[0].public_key():
        raise UnusableCertificate(f"{key} is not the key of the first certificate in {chain}")
    return SigningCertificate(body, _pkcs8(secret), algorithm)


def own_certificate(folder: Path) -> SigningCertificate:
    """This machine's, made at the first call. Workers that start at once agree on one.

    `folder`/ca.pem is what a reader has to trust. The key behind it is forgotten: it signs this once.
    Raises UnusableCertificate.
    """
    if not (folder / KEY).exists():
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # mode 0700
            try:
                _make(draft)
                draft.rename(folder)
            except OSError:
                if not (folder / KEY).exists():  # else another worker was quicker
                    raise
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        except OSError as error:
            raise UnusableCertificate(f"{folder} cannot be written: {error}") from error
    return read_certificate(folder / CHAIN, folder / KEY)


def _make(folder: Path) -> None:
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = _name("MicroCinema test CA"), _name("MicroCinema test signer")
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _begun(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(x509.KeyUsage(**{**_NO_USE, "key_cert_sign": True, "crl_sign": True}), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    # What C2PA asks of a signer: no CA, digitalSignature, an issuer's key id, and a known extended use.
    signer = (
        _begun(name, ca_name, key)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.KeyUsage(**{**_NO_USE, "digital_signature": True}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    anchor = ca.public_bytes(serialization.Encoding.PEM)
    (folder / ANCHOR).write_bytes(anchor)
    (folder / CHAIN).write_bytes(signer.public_bytes(serialization.Encoding.PEM) + anchor)
    descriptor = os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_pkcs8(key))


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + _VALID)
    )


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "MicroCinema"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _pkcs8(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
