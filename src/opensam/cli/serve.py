"""`opensam serve`: a model for many clients over HTTP."""

import os
import secrets
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensam.cli.shared import (
    CheckpointOption,
    DeviceOption,
    PrecisionName,
    PrecisionOption,
    cache_folder,
    load_torch_predictor,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from opensam.predictor import Predictor
    from opensam.serve.settings import ServeConfig

TOKEN_HELP = (
    "what every request must carry; better in OPENSAM_TOKEN, as others see command lines. Unless given, none for this "
    "machine alone and a random one for any other --host"
)
SET_HELP = "change a limit, such as max_bytes=10000000; repeat for more; docs/guides/server.md lists them"
HOST_HELP = "address to listen at; 127.0.0.1 is for this machine alone, 0.0.0.0 for all that reach it"
ALLOW_HELP = "a name under which this server is reached, as behind a proxy; repeat for more"


class LogFormat(StrEnum):
    """How the log looks."""

    text = "text"
    json = "json"


HostOption = Annotated[str, typer.Option("--host", help=HOST_HELP)]
PortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="unless given 8765, or another if that is taken", show_default=False),
]
TokenOption = Annotated[str | None, typer.Option("--token", help=TOKEN_HELP, show_default=False)]
AllowOption = Annotated[list[str] | None, typer.Option("--allow-host", metavar="NAME", help=ALLOW_HELP)]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)]
LogOption = Annotated[LogFormat, typer.Option("--log-format", help="text, or a JSON object on each line")]


def serve(
    model: Annotated[
        str | None,
        typer.Argument(help="a name of `opensam models`; unless given, the embedded model", show_default=False),
    ] = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = None,
    token: TokenOption = None,
    allow_host: AllowOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = PrecisionName.auto,
    overrides: SetOption = None,
    log_format: LogOption = LogFormat.text,
) -> None:
    """Answer HTTP requests with a model: embed, predict, generate. /docs on the server shows how to ask.

    \b
    Embeddings are kept in the folder OPENSAM_HOME.
    """  # noqa: D301 -- \b is for typer
    from opensam.serve.run import listen

    config = server_config(host, token, allow_host or [], overrides or [])
    listening = listen(host, port)
    predictor = load_torch_predictor(model, checkpoint, device, precision)
    start(predictor, config, listening, host, log_format)


def server_config(host: str, token: str | None, hosts: "Sequence[str]", overrides: list[str]) -> "ServeConfig":
    """The settings of a server; one that others reach has a token.

    Raises:
        ValueError: a setting is unknown or out of range.
    """
    from opensam.serve.security import is_loopback
    from opensam.serve.settings import ServeConfig

    token = token or os.environ.get("OPENSAM_TOKEN") or None
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    values: dict[str, Any] = {"token": token, "hosts": tuple(hosts), "cache": cache_folder() / "serve"}
    return ServeConfig.of(values).with_overrides(overrides)


def start(
    predictor: "Predictor", config: "ServeConfig", listening: "socket.socket", host: str, log_format: LogFormat
) -> None:
    """Answer until Ctrl-C."""
    from opensam.serve.app import create_app
    from opensam.serve.logs import start_logging
    from opensam.serve.run import run, url_of

    start_logging(log_format.value)
    app = create_app(predictor, config)
    say(f"{predictor.sam.name} answers at {url_of(listening, host, config.token)} (Ctrl-C ends it)")
    run(app, listening)


def say(sentence: str) -> None:
    """Tell the person who started the server; stdout stays for programs."""
    typer.echo(sentence, file=sys.stderr)
