"""What can be set of the server, and what is safe when nothing is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from pneumoscope.core.errors import UsageError
from pneumoscope.detector.in_order import count_cores

PREFIX: Final = "PNEUMOSCOPE_WEB_"
MIB: Final = 1 << 20


class WebSettings(BaseModel):
    """The server's settings. Each is also an environment variable, PNEUMOSCOPE_WEB_ and its name.

    The limits are for one server before which a reverse proxy may stand; none may be switched off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path | None = Field(default=None, description="The .onnx file; the shipped one.")
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="0 is any free port.")
    token: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="Asked for as `Authorization: Bearer TOKEN` by /api and /metrics.",
    )

    n_workers: int = Field(
        default_factory=count_cores, ge=1, le=256, description="Processes that decode and infer."
    )
    memory_mib: int = Field(
        default=512, ge=64, description="What one picture may take in a worker, beyond the bundle."
    )
    decode_s: float = Field(
        default=20, gt=0, description="Decoding, inference and overlay of one picture."
    )
    start_s: float = Field(default=120, gt=0, description="A worker's start and warm-up.")
    queue_files: int = Field(
        default=256, ge=1, description="Files that may wait for a worker; more are answered 503."
    )
    queue_s: float = Field(default=60, gt=0, description="How long a file may wait for a worker.")

    max_body_bytes: int = Field(default=64 * MIB, ge=1024, description="Of one request.")
    max_held_bytes: int = Field(
        default=256 * MIB, ge=1024, description="Uploads and answers of all requests together."
    )
    max_files: int = Field(default=32, ge=1, description="Of one request.")
    max_pixels: int = Field(
        default=32_000_000, ge=1, description="Of one picture; looked at before it is decoded."
    )
    max_headers: int = Field(default=64, ge=8, description="Header lines of a request.")
    max_header_bytes: int = Field(default=32 * 1024, ge=1024, description="All of them together.")
    max_connections: int = Field(default=512, ge=1, description="At one time; more get a 503.")
    header_s: float = Field(default=10, gt=0, description="To send the headers.")
    body_s: float = Field(default=60, gt=0, description="To send the body.")
    send_s: float = Field(default=60, gt=0, description="To take an answer, once it is stuck.")

    @field_validator("token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr | None) -> SecretStr | None:
        # A header's value loses its outer blanks, and other characters have no sure bytes in it.
        if token and not all("!" <= letter <= "~" for letter in token.get_secret_value()):
            raise ValueError("it may have visible ASCII characters alone, no blank or line end")
        return token

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.queue_files < self.max_files:
            raise ValueError("queue_files is below max_files: a full request could never be taken")
        if self.max_held_bytes < self.max_body_bytes:
            raise ValueError("max_held_bytes is below max_body_bytes: no room for one request")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **given: Any) -> Self:
        """Return the settings; what is given and not None goes before the environment.

        Raises: UsageError: a value is wrong, or a variable of our prefix is no setting.
        """
        values: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name not in cls.model_fields:
                raise UsageError(
                    f"{variable}: there is no such setting. There are: "
                    f"{', '.join(PREFIX + each.upper() for each in cls.model_fields)}."
                )
            if text:  # an empty variable counts as none
                values[name] = text
        values |= {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            place = f"{name} ({PREFIX}{name.upper()})" if name else "The server's settings"
            raise UsageError(f"{place}: {first['msg']}.") from error
