"""`opensam annotate`: a folder of pictures in the browser."""

import os
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from opensam.cli.serve import (
    AllowOption,
    HostOption,
    LogFormat,
    LogOption,
    PortOption,
    SetOption,
    TokenOption,
    say,
    server_config,
)
from opensam.cli.shared import (
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionName,
    PrecisionOption,
    load_torch_predictor,
)

STORE_HELP = (
    "where annotations are kept: a URL of SQLAlchemy, such as sqlite:///annotations.sqlite; unless given, "
    "FOLDER/.opensam/annotations.sqlite"
)


def annotate(
    folder: Annotated[Path, typer.Argument(help="a folder of pictures", metavar="FOLDER", show_default=False)],
    store: Annotated[str | None, typer.Option("--store", metavar="URL", help=STORE_HELP, show_default=False)] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="only print the address")] = False,
    model: ModelOption = None,
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
    """Click masks of everything in a folder of pictures, in the browser. Nothing leaves this machine.

    \b
    Every accepted mask is saved at once. The app exports COCO, SA-1B, YOLO,
    LabelMe, label maps and PNG, and goes on with what it exported.
    """  # noqa: D301 -- \b is for typer
    from opensam.serve.app import create_app
    from opensam.serve.logs import start_logging
    from opensam.serve.project import open_project
    from opensam.serve.run import listen, run, url_of

    config = server_config(host, token, allow_host or [], overrides or [])
    project = open_project(folder, store)
    listening = listen(host, port)
    predictor = load_torch_predictor(model, checkpoint, device, precision)
    start_logging(log_format.value)
    app = create_app(predictor, config, project)
    url = url_of(listening, host, config.token)
    say(f"{folder} is open at {url} (Ctrl-C ends it; what is accepted is saved)")
    if not no_browser and has_screen():
        # The socket listens already: the browser waits until the server answers.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    try:
        run(app, listening)
    finally:
        project.store.close()


def has_screen() -> bool:
    """Whether a browser would have somewhere to appear."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
