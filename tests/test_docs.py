"""Runs what the documents tell people to type.

Every fenced `python` and `bash`/`sh`/`shell` block of README.md, CONTRIBUTING.md and docs/ runs, per document
and in order: the Python blocks as one program (a later block may use the names of an earlier one), the shell
blocks as one script that stops at the first failure. They run in a folder of their own that holds
`photo.jpg`, a photograph of a cup of coffee. `<!-- no-run: reason -->` on the line above a fence leaves that
block out, for instance because it downloads something or takes hours.
"""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python": "python", "py": "python", "bash": "shell", "sh": "shell", "shell": "shell"}
NO_RUN = re.compile(r"<!-- no-run: *(\S.*?) *-->")


@dataclass(frozen=True)
class Block:
    """A fenced block that is to be run."""

    language: str  # "python" or "shell"
    line: int  # of its first line of code in the document, from 1
    text: str


def blocks(document: str) -> Iterator[Block]:
    """The blocks of a Markdown text that are to be run."""
    lines = document.splitlines()
    fence, start = "", 0
    for number, line in enumerate(lines):
        if not fence and (opening := re.match(r" *(`{3,}|~{3,}) *(\w*)", line)):
            fence, language, start = opening[1], LANGUAGES.get(opening[2], ""), number
            mark = next((above for above in reversed(lines[:number]) if above.strip()), "")
            if "no-run" in mark and not NO_RUN.fullmatch(mark.strip()):
                raise ValueError(f"line {number}: write <!-- no-run: reason -->, got {mark}")
            if NO_RUN.fullmatch(mark.strip()):
                language = ""
        elif fence and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            if language:
                text = textwrap.dedent("\n".join(lines[start + 1 : number]) + "\n")
                yield Block(language, start + 2, text)
            fence = ""
    if fence:
        raise ValueError(f"line {start + 1}: this block is never closed")


def run(document: Path, language: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run all blocks of one language; a Python traceback names the line of the document."""
    chosen = [block for block in blocks(document.read_text()) if block.language == language]
    if language == "python":
        program = ""
        for block in chosen:
            program += "\n" * (block.line - 1 - program.count("\n")) + block.text
        code = f"exec(compile({program!r}, {str(document)!r}, 'exec'), {{'__name__': '__main__'}})"
        command = [sys.executable, "-c", code]
    else:
        command = ["bash", "-euxo", "pipefail", "-c", "".join(block.text for block in chosen)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("language", ["python", "shell"])
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_says_works(document: Path, language: str, tmp_path: Path) -> None:
    if not any(block.language == language for block in blocks(document.read_text())):
        return
    skimage_data = pytest.importorskip("skimage.data")
    Image.fromarray(skimage_data.coffee()).save(tmp_path / "photo.jpg", quality=95)
    result = run(document, language, tmp_path)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


def test_the_readme_has_blocks_that_run() -> None:
    languages = {block.language for block in blocks((ROOT / "README.md").read_text())}
    assert languages == {"python", "shell"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    dead = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert dead == []


# ---- the runner itself -------------------------------------------------------------------------------------

SAMPLE = """\
Text.

```python
answer = 41
```

```text
not run
```

```python
answer += 1
print("answer", answer)
```

<!-- no-run: downloads a model -->
```python
raise SystemExit("must not run")
```

1. a list

   ```bash
   echo first > file.txt
   ```

```sh
cat file.txt
```
"""


def test_blocks_of_one_language_run_as_one_program(tmp_path: Path) -> None:
    document = tmp_path / "sample.md"
    document.write_text(SAMPLE)
    assert run(document, "python", tmp_path).stdout == "answer 42\n"
    assert run(document, "shell", tmp_path).stdout == "first\n"


def test_a_failing_python_block_is_reported_with_its_line(tmp_path: Path) -> None:
    document = tmp_path / "sample.md"
    document.write_text(SAMPLE.replace("answer += 1", "answer += one"))
    result = run(document, "python", tmp_path)
    assert result.returncode != 0
    assert 'sample.md", line 12' in result.stderr


def test_a_failing_shell_line_in_the_middle_is_reported(tmp_path: Path) -> None:
    document = tmp_path / "sample.md"
    document.write_text("```sh\nfalse\ntrue\n```\n")
    assert run(document, "shell", tmp_path).returncode != 0


@pytest.mark.parametrize("document", ["<!-- no-run -->\n```sh\ntrue\n```\n", "```sh\ntrue\n"])
def test_a_mark_without_a_reason_and_an_open_fence_are_refused(document: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        list(blocks(document))
