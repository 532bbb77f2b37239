"""Where artifacts go, as the environment says it, and the store that follows from it."""

import os
import secrets
import time
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contracts.environment import Address, AddressIfAny
from service.storage.artifact_store import StorageUnavailable
from service.storage.files import FileStore
from service.storage.links import MIN_SECRET_BYTES, LinkSigner
from service.storage.pairing import MarkedStore

_SECRET_FILE = ".link-secret"
_REGION = r"^[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]$"


class StorageSettings(BaseSettings):
    """Ours are MICROCINEMA_STORAGE, _STORAGE_DIR, _STORAGE_SECRET and _PUBLIC_BASE_URL."""

    model_config = SettingsConfigDict(
        env_prefix="MICROCINEMA_", populate_by_name=True, extra="ignore", frozen=True
    )

    storage: Literal["files", "s3"] = "files"
    #: Folder of the files backend; every process of the service must see the same one.
    storage_dir: Path = Path("var/artifacts")
    #: Signs the links of the files backend. Unset: made once and kept in the folder, for its owner's eyes.
    storage_secret: SecretStr | None = Field(default=None, min_length=MIN_SECRET_BYTES)
    #: The gateway's address as clients see it; links of the files backend start with it.
    public_base_url: Address = "http://127.0.0.1:8000"

    s3_endpoint_url: AddressIfAny = Field(default=None, validation_alias="S3_ENDPOINT_URL")
    #: The address for which links are signed, where clients reach the server by another name than we do.
    s3_public_endpoint_url: AddressIfAny = Field(default=None, validation_alias="S3_PUBLIC_ENDPOINT_URL")
    s3_bucket: str = Field(default="", validation_alias="S3_BUCKET")
    s3_region: str = Field(default="us-east-1", pattern=_REGION, validation_alias="S3_REGION")
    aws_access_key_id: str | None = Field(default=None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(default=None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: SecretStr | None = Field(default=None, validation_alias="AWS_SESSION_TOKEN")

    @model_validator(mode="after")
    def _bucket_named(self) -> Self:
        if self.storage == "s3" and not self.s3_bucket:
            raise ValueError(
                "S3_BUCKET is empty: MICROCINEMA_STORAGE=s3 needs the name of a bucket that exists"
            )
        return self


def open_store(settings: StorageSettings) -> MarkedStore:
    """The store that the settings name. The local folder is made if missing; S3 is not spoken to yet.

    Raises StorageUnavailable if that folder cannot be used.
    """
    if settings.storage == "files":
        return open_files(settings)
    return open_bucket(settings, settings.s3_bucket)


def open_bucket(settings: StorageSettings, bucket: str) -> MarkedStore:
    """Any bucket of the S3 server that the settings name, wherever artifacts go; not spoken to yet."""
    # boto3 takes a third of a second to import; a process on local files never pays it.
    from service.storage.s3 import S3Place, connect

    return connect(
        S3Place(
            bucket=bucket,
            endpoint_url=settings.s3_endpoint_url,
            public_endpoint_url=settings.s3_public_endpoint_url,
            region=settings.s3_region,
            access_key_id=settings.aws_access_key_id,
            secret_access_key=_revealed(settings.aws_secret_access_key),
            session_token=_revealed(settings.aws_session_token),
        )
    )


def open_signer(settings: StorageSettings) -> LinkSigner | None:
    """Signs links that lead to the gateway itself, by MICROCINEMA_STORAGE_SECRET; None if that is not set."""
    secret = _revealed(settings.storage_secret)
    return None if secret is None else LinkSigner(secret.encode(), settings.public_base_url, time.time)


def open_files(settings: StorageSettings) -> FileStore:
    """The local folder; its `signer` also checks the links that the gateway is asked for.

    Raises StorageUnavailable if the folder cannot be used.
    """
    root = settings.storage_dir.resolve()
    secret = _revealed(settings.storage_secret)
    try:
        root.mkdir(parents=True, exist_ok=True)
        chosen = secret.encode() if secret is not None else _kept_secret(root / _SECRET_FILE)
    except OSError as problem:
        reason = problem.strerror or problem
        raise StorageUnavailable(
            f"the folder {root} (MICROCINEMA_STORAGE_DIR) cannot be used: {reason}"
        ) from problem
    return FileStore(root, LinkSigner(chosen, settings.public_base_url, time.time))


def _kept_secret(path: Path) -> bytes:
    """The secret in this file: the first process that comes makes it, all others read the same one."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as made:
            made.write(secrets.token_hex(32).encode())
        # link, unlike rename, refuses to replace: of two processes that start at once exactly one wins.
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    return path.read_bytes()


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
