"""Settings: command-line flags > environment > `promptmill.toml` > services that `promptmill run` left running.

Every setting has one name: `s3.bucket` is `PROMPTMILL_S3__BUCKET` in the environment and `bucket` under
`[s3]` in `promptmill.toml`. Names that people already have (`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, ...) are read where ours are not given.
"""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from schemas.errors import SettingsError
from services.input_addresses import InputRules
from services.input_images import ImageLimits
from services.local_state import running_services

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class S3Settings(_Section):
    """The object store. Without credentials of its own, boto3's usual chain is used."""

    endpoint_url: str | None = Field(None, description="S3 endpoint; empty for AWS")
    bucket: str = Field("promptmill", description="bucket that holds the jobs")
    prefix: str = Field("", description="key prefix inside the bucket")
    region: str = Field("us-east-1", description="region")
    access_key_id: str | None = Field(None, description="access key; else AWS_ACCESS_KEY_ID and boto3's chain")
    secret_access_key: SecretStr | None = Field(None, description="secret key; else AWS_SECRET_ACCESS_KEY")
    connections: Count = Field(32, description="most connections of one process")

    @field_validator("endpoint_url")
    @classmethod
    def _no_keys_in_it(cls, value: str | None) -> str | None:
        """An address stands in messages and logs; keys have settings of their own."""
        if value and "@" in value:
            raise ValueError("an address has no user or password in it: s3.access_key_id, s3.secret_access_key")
        return value

    @field_validator("prefix")
    @classmethod
    def _no_slashes(cls, value: str) -> str:
        return value.strip("/")


class RedisSettings(_Section):
    """Celery's broker and the ledger."""

    url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="redis:// or rediss:// address")
    key_prefix: str = Field("promptmill", description="first part of every key of the ledger")
    ca_file: Path | None = Field(None, description="certificate authorities of a rediss:// server, PEM")
    cert_file: Path | None = Field(None, description="this side's certificate, where the server asks for one, PEM")
    key_file: Path | None = Field(None, description="the key of `cert_file`, PEM")
    signing_key: SecretStr | None = Field(
        None, min_length=16, description="signs task messages; workers that have one refuse messages without it"
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none_given(cls, values: Any) -> Any:
        """Compose files and shells pass a variable that nobody set as an empty one."""
        if isinstance(values, dict) and values.get("url") == "":
            return {name: value for name, value in values.items() if name != "url"}
        return values

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: SecretStr) -> SecretStr:
        """A password with a slash or a colon in it makes another address of the rest: nothing of it may be told."""
        try:
            address = urlsplit(value.get_secret_value())
            rest = address.path + address.query + address.fragment  # an @ there was meant to end a password
            named = bool(address.hostname) and address.port != 0 and "@" not in rest
            sound = address.scheme in ("redis", "rediss") and named
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(
                "expected redis://[user:password@]host:port/0, or rediss:// with TLS; "
                "other characters than letters and digits in a password as %XX"
            )
        return value


class DispatchSettings(_Section):
    """How a job is cut into tasks, and how tasks are handed out."""

    task_units: float = Field(16.0, gt=0, description="cost at which a task is cut (1 unit: 512x512, 50 steps)")
    task_rows: int = Field(32, ge=1, le=10_000, description="rows at which a task is cut")
    tick_seconds: Seconds = Field(0.1, description="pause between two looks of the dispatcher while a job runs")
    scan_seconds: Seconds = Field(10, description="how often the store is searched for jobs and control events")
    publish_grace_seconds: Seconds = Field(
        30, description="a published task neither leased nor queued for so long is published again"
    )
    losses_before_split: Count = Field(2, description="losses of a task after which its rows go one by one")
    losses_before_poison: Count = Field(3, description="losses of a row alone after which it fails as poison")
    gc_grace_seconds: float = Field(
        86_400, ge=0, description="`gc` leaves alone what is younger: its piece may be still to come"
    )
    leader_seconds: Seconds = Field(20, description="another orchestrator takes over after so long without a sign")
    failure_streak: int = Field(20, ge=0, description="rows failing the same way in a row that pause a job; 0: never")


class WorkerSettings(_Section):
    """The GPU side."""

    engine: str = Field("diffusers", description="what renders: diffusers, or module:attribute")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field("auto", description="auto: float16 on a GPU")
    exact: bool = Field(False, description="batches of one: bit-equal images on the same device and versions")
    max_batch: int = Field(0, ge=0, description="most images in one denoising loop; 0: by size and memory")
    lease_seconds: Seconds = Field(30, description="how long a lease holds without renewal")
    stall_seconds: Seconds = Field(600, description="no step, load or upload for so long ends the process")
    held_bytes: Count = Field(
        2**30,
        description="most bytes of images held between the stages of chains; a task with more goes in slices",
    )
    piece_seconds: Seconds = Field(30, description="finished rows are committed at least this often")
    upload_threads: Count = Field(4, description="threads that encode and upload")
    safety: Literal["keep", "blur", "drop", "off"] = Field("keep", description="what to do with flagged images")
    safety_threshold: float | None = Field(None, description="added to the checker's scores; tests force a flag")
    max_models: int = Field(0, ge=0, description="most models kept loaded; 0: as memory allows")
    max_input_bytes: Count = Field(64 * 2**20, description="largest input image in bytes")
    max_input_pixels: Count = Field(64_000_000, description="largest input image in pixels")

    @property
    def image_limits(self) -> ImageLimits:
        """What is accepted as an input image, by the client that submits and by the worker that reads."""
        return ImageLimits(max_bytes=self.max_input_bytes, max_pixels=self.max_input_pixels)


class ManifestSettings(_Section):
    """What a manifest may cost to read, for those who submit what others wrote."""

    max_rows: Count = Field(100_000_000, description="most rows of a manifest, those of a parameter space counted")
    max_line_bytes: Count = Field(10_000_000, description="longest line, and with it the largest row, in bytes")
    max_bytes: Count = Field(64 * 2**30, description="largest manifest in bytes, unpacked")


class InputSettings(_Section):
    """Input images and masks that rows name: what is read beside the submitting user's own files."""

    buckets: str = Field(
        "", description="further buckets that `s3://` addresses may name, by commas; `*`: all that the keys reach"
    )
    https: bool = Field(False, description="workers read `https://` addresses of public hosts")
    https_hosts: str = Field("", description="only these hosts, by commas; `.example.com`: all below; empty: any")
    https_seconds: Seconds = Field(30, description="most time for one image over HTTPS, with its redirects")


class _RunningServicesSource(InitSettingsSource):
    """The embedded services that a `promptmill run` in this folder keeps running at this moment."""

    def __init__(self, settings_cls: type[BaseSettings], data_dir: Path) -> None:
        super().__init__(settings_cls, init_kwargs=running_services(data_dir))


class Settings(BaseSettings):
    """All settings of one process. Made once at its start and handed down; there is no global."""

    model_config = SettingsConfigDict(
        env_prefix="PROMPTMILL_",
        env_nested_delimiter="__",
        toml_file="promptmill.toml",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    s3: S3Settings = S3Settings.model_validate({})
    redis: RedisSettings = RedisSettings.model_validate({})
    dispatch: DispatchSettings = DispatchSettings.model_validate({})
    worker: WorkerSettings = WorkerSettings.model_validate({})
    manifest: ManifestSettings = ManifestSettings.model_validate({})
    inputs: InputSettings = InputSettings.model_validate({})
    models_file: Path | None = Field(None, description="a models.toml of your own that extends the shipped one")
    data_dir: Path = Field(Path(".promptmill"), description="where embedded services keep their data")
    cli: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="options by command: [cli.run] workers = 2"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")

    @property
    def input_rules(self) -> InputRules:
        """Which addresses of input images are read. The job's own bucket is always among them."""
        named = _names(self.inputs.buckets)
        return InputRules(
            buckets=None if "*" in named else named | {self.s3.bucket},
            https=self.inputs.https,
            https_hosts=frozenset(name.lower() for name in _names(self.inputs.https_hosts)),
            https_seconds=self.inputs.https_seconds,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls)
        named = (source().get("data_dir") for source in (init_settings, env_settings, toml))
        data_dir = Path(next((found for found in named if found), ".promptmill"))
        given = (init_settings, env_settings, toml, _AwsNamesSource(settings_cls))
        # Running services count as a whole or not at all: half of them and half of others would reach neither.
        if any(_names_a_service(source()) for source in given):
            return given
        return (*given, _RunningServicesSource(settings_cls, data_dir))


def _names(text: str) -> frozenset[str]:
    return frozenset(name for part in text.split(",") if (name := part.strip()))


def _names_a_service(values: dict[str, Any]) -> bool:
    s3, redis = (values.get(name) for name in ("s3", "redis"))
    in_s3 = isinstance(s3, dict) and bool({"endpoint_url", "bucket"} & {name for name in s3 if s3[name]})
    return in_s3 or (isinstance(redis, dict) and bool(redis.get("url")))


class _AwsNamesSource(InitSettingsSource):
    """The names people already have. Credentials are left to boto3, which reads them by itself."""

    NAMES: ClassVar[dict[str, tuple[str, ...]]] = {
        "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    }

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        found = {
            field: next((os.environ[name] for name in names if os.environ.get(name)), None)
            for field, names in self.NAMES.items()
        }
        section = {field: value for field, value in found.items() if value}
        super().__init__(settings_cls, init_kwargs={"s3": section} if section else {})


def load_settings(**overrides: Any) -> Settings:
    """Read the settings of this process.

    Args:
        overrides: values of command-line flags, nested as in `promptmill.toml`; None means not given.

    Raises:
        SettingsError: a value that cannot be used, named with its field and what was expected.
    """
    hint = "see PROMPTMILL_* in the environment and promptmill.toml"
    try:
        return Settings(**_without_none(overrides))
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in fault['loc'])}: {_said(fault['msg'])}" for fault in error.errors()]
        raise SettingsError("settings: " + "; ".join(lines), hint=hint) from None
    except (ValueError, OSError) as error:  # promptmill.toml is not TOML, or a section in the environment not JSON
        raise SettingsError(f"settings: {error}", hint=hint) from None


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")  # pydantic's words around ours


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = _without_none(value) or None
        if value is not None:
            kept[name] = value
    return kept


def as_environment(settings: Settings) -> dict[str, str]:
    """The environment that makes another process read the same settings. Holds secrets: never log it."""
    found: dict[str, str] = {}
    for name, value in settings.model_dump(mode="python", exclude_unset=True).items():
        _flatten(f"PROMPTMILL_{name.upper()}", value, found)
    return found


def _flatten(name: str, value: Any, into: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}__{key.upper()}", inner, into)
    elif isinstance(value, SecretStr):
        into[name] = value.get_secret_value()
    elif value is not None:
        into[name] = str(value)
