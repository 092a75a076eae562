"""Reports as one web page: a file that can be sent, with its figures inside, and needs no network."""

import base64
import mimetypes
from collections.abc import Sequence
from html import escape
from pathlib import Path

from opensam.eval.report import Report, Table, conditions, headline_table
from opensam.files import replacing

STYLE = """
:root { color-scheme: light dark; --line: #d9dce1; --soft: #5b6470; --back: #ffffff; --text: #1b1f24; --mark: #2459c4; }
@media (prefers-color-scheme: dark) {
  :root { --line: #363c45; --soft: #a3adb9; --back: #15181c; --text: #e6e9ed; --mark: #8ab0ff; }
}
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 5rem; background: var(--back); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.3rem; margin: 3.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; } p { max-width: 44rem; } a { color: var(--mark); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; color: var(--soft); } th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
figcaption, .soft, details { color: var(--soft); font-size: .9rem; }
""".strip()


def write_page(path: Path, title: str, reports: Sequence[Report], left_out: Sequence[str] = ()) -> None:
    """Write reports as one page.

    Args:
        path: of the page; figures are looked for beside it.
        title: of the page.
        reports: in the order in which they come.
        left_out: sentences on what was not evaluated, and why.

    Raises:
        OSError: a figure is missing, or the page cannot be written.
    """
    links = "".join(f'<li><a href="#{escape(one.name)}">{escape(one.title)}</a></li>' for one in reports)
    parts = [f"<h1>{escape(title)}</h1>", f"<nav><ul>{links}</ul></nav>"]
    parts += [_table(headline_table(reports)) if any(one.headlines for one in reports) else ""]
    parts += [f'<p class="soft">{escape(sentence)}</p>' for sentence in left_out]
    parts += [_section(one, path.parent) for one in reports]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    text = f'<!doctype html>\n<html lang="en">\n<head>{head}<style>\n{STYLE}\n</style></head>\n<body>\n'
    with replacing(path) as temporary:
        temporary.write_text(
            text + "\n".join(part for part in parts if part) + "\n</body>\n</html>\n", encoding="utf-8"
        )


def _section(report: Report, folder: Path) -> str:
    parts = [f'<h2 id="{escape(report.name)}">{escape(report.title)}</h2>']
    parts += [_table(table) for table in report.tables]
    parts += [f"<p>{escape(note)}</p>" for note in report.notes]
    parts += [_figure(folder / figure.file, figure.caption) for figure in report.figures]
    if report.skipped:
        rows = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in report.skipped.items())
        parts.append(f"<details><summary>{len(report.skipped)} pictures left out</summary><ul>{rows}</ul></details>")
    lines = "".join(f"<li>{escape(line)}</li>" for line in conditions(report.facts))
    parts.append(f"<details><summary>Conditions</summary><ul>{lines}</ul></details>")
    return f"<section>\n{chr(10).join(parts)}\n</section>"


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.texts())
    note = f'<p class="soft">{escape(table.note)}</p>' if table.note else ""
    body = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<h3>{escape(table.title)}</h3><div class="wide">{body}</div>{note}'


def _figure(path: Path, caption: str) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "image/png"
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure><img src="data:{kind};base64,{content}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
