"""What a browser gets to see: the annotator or a plain page, and documentation with nothing from elsewhere."""

import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="stylesheet" href="/docs.css"></head><body><main>{body}</main></body></html>
"""
_STYLE = """:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem }
pre { overflow: auto; padding: .75rem; border: 1px solid #8888; border-radius: 4px; font-size: 14px }
h2 { margin-top: 2.5rem; font-size: 1.1rem } code { font-size: .95em } td, th { text-align: left; padding-right: 1rem }
"""


class _Assets(StaticFiles):
    """Files that a browser keeps but asks about each time: another version of opensam has others of the same names."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def static_folder() -> Path:
    """Where the built browser app lies in the package; may be missing in a clone."""
    return Path(str(resources.files("opensam") / "serve" / "static"))


def install(app: FastAPI, annotator: bool) -> None:
    """Add the pages; after all other routes, as the files of the app take every address that is left."""
    app.add_api_route("/docs", lambda: HTMLResponse(_docs(app.openapi())), include_in_schema=False)
    app.add_api_route("/docs.css", lambda: Response(_STYLE, media_type="text/css"), include_in_schema=False)
    folder = static_folder()
    if annotator and (folder / "index.html").is_file():
        app.mount("/", _Assets(directory=folder, html=True), name="app")
        return
    app.add_api_route("/", lambda: HTMLResponse(_start(annotator)), include_in_schema=False)


def _start(annotator: bool) -> str:
    words = (
        "<p>The browser app was not built into this copy of opensam. Run <code>make web</code> in a clone, or install "
        "the package.</p>"
        if annotator
        else "<p>A model answers here. To annotate a folder of pictures in the browser run "
        "<code>opensam annotate FOLDER</code>.</p>"
    )
    links = '<p><a href="/docs">What there is</a>, <a href="/v1/models">models</a>, <a href="/metrics">metrics</a>.</p>'
    return _PAGE.format(title="opensam", body=f"<h1>opensam</h1>{words}{links}")


def _docs(openapi: dict[str, Any]) -> str:
    parts = [
        f"<h1>{html.escape(openapi['info']['title'])}</h1><p>For programs: "
        '<a href="/openapi.json">openapi.json</a>. Every error is <code>{"detail": "one sentence"}</code>.</p>'
    ]
    for path, methods in openapi["paths"].items():
        parts += [_operation(f"{method.upper()} {path}", one, openapi) for method, one in methods.items()]
    return _PAGE.format(title="opensam: HTTP", body="".join(parts))


def _operation(heading: str, operation: dict[str, Any], openapi: dict[str, Any]) -> str:
    parts = [f"<h2><code>{html.escape(heading)}</code></h2><p>{html.escape(operation.get('description', ''))}</p>"]
    for parameter in operation.get("parameters", []):
        where = f"{parameter['name']} ({parameter['in']})"
        parts.append(f"<p><code>{html.escape(where)}</code>: {_code(parameter['schema'])}</p>")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Takes <code>{html.escape(kind)}</code></p>{_schema(content, openapi)}")
    rows = "".join(
        f"<tr><td>{status}</td><td>{html.escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    answers = operation["responses"].get("200", {}).get("content", {})
    shown = "".join(_schema(content, openapi) for content in answers.values())
    return "".join([*parts, f"<table>{rows}</table>", f"<p>Gives</p>{shown}" if shown else ""])


def _schema(content: dict[str, Any], openapi: dict[str, Any]) -> str:
    """An example where there is one, else the fields."""
    schema = content.get("schema", {})
    if "$ref" in schema:
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    words = html.escape(schema.get("description", ""))
    shown = schema["examples"][0] if "examples" in schema else schema.get("properties", schema)
    return f"<pre>{words}</pre>{_code(shown, block=True)}" if words else _code(shown, block=True)


def _code(value: Any, block: bool = False) -> str:
    text = html.escape(json.dumps(value, indent=2 if block else None))
    return f"<pre>{text}</pre>" if block else f"<code>{text}</code>"
