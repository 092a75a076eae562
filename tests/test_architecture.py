"""The guard of docs/architecture.md: who may know whom, what each floor may touch, how long things may get.

Every rule is a function from source files to sentences about violations. The package must give none; and each
rule is shown, on a small tree with a planted violation, to speak up.
"""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "opensam"

FLOORS = {
    -1: {"files", "rle"},
    0: {"config", "geometry", "masks", "image", "precision", "threads"},
    1: {"prompts", "records"},
    2: {"models", "data", "interaction", "distributed"},
    3: {"predictor", "train", "export"},
    4: {"amg", "onnx"},
    5: {"compose"},
    6: {"eval"},
    7: {"engine", "client"},
    8: {"recipes", "serve", "launch", "view", "__init__"},  # __init__: the public names
    9: {"cli", "compat", "demo"},
    10: {"__main__"},  # only starts cli
}
FLOOR_OF = {part: floor for floor, parts in FLOORS.items() for part in parts}
NOWHERE = -2
FACES = 8  # from this floor on: screens, servers, printing, the environment

SCREENS = {
    "typer", "click", "rich", "tqdm", "fastapi", "starlette", "uvicorn", "ray", "matplotlib", "tkinter",
    "PIL.ImageDraw", "PIL.ImageFont",
}  # fmt: skip
CORE = {
    "torch", "numpy", "PIL", "cv2", "pycocotools", "safetensors", "pydantic", "typer", "rich",
    "typing_extensions", "filelock",
}  # fmt: skip
EXTRAS = {
    "lightning_fabric", "tensorboard", "torch.utils.tensorboard", "ray", "scipy", "skimage", "matplotlib",
    "transformers", "h5py", "onnx", "onnxscript", "onnxruntime", "fastapi", "starlette", "uvicorn", "sqlalchemy",
}  # fmt: skip

# What these import from extras they may import at once; others import them in the function that needs them.
BUILT_ON = {
    "serve": {"fastapi", "starlette", "uvicorn", "sqlalchemy"},
    "engine.store": {"sqlalchemy"},
    "onnx": {"onnxruntime"},
}

FILE_SIDE_OF_MODELS = {"models.checkpoints", "models.download", "models.layouts", "models.zoo"}
NOT_IN_MODELS = {"numpy", "PIL", "cv2"}
FILE_LIBRARIES = {"pathlib", "os", "io", "shutil", "tempfile", "safetensors", "opensam.files"}
FILE_CALLS = {"open", "torch.load", "torch.save"}
DEVICES = {"cpu", "cuda", "mps"}

FILE_LINES, FILE_LINES_HARD, FUNCTION_LINES = 400, 500, 60
LONG_FILES: dict[str, str] = {}  # module -> why it may have up to FILE_LINES_HARD

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file: its dotted name below the package ("models.sam"; of a package itself "models.__init__")."""

    module: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """What stands on a floor: the first part of the name."""
        return self.module.split(".")[0]

    @property
    def floor(self) -> int:
        """The floor, or NOWHERE for a module that has none (`unplaced` reports it)."""
        return FLOOR_OF.get(self.part, NOWHERE)


@dataclass(frozen=True)
class Import:
    """One imported dotted name, where, and whether merely importing the file runs it."""

    name: str
    line: int
    at_import: bool


def read_sources(package: Path) -> list[Source]:
    """All modules below `package`."""
    sources = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text()
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        sources.append(Source(module, text, ast.parse(text)))
    return sources


def dotted(node: ast.AST) -> str:
    """`a.b.c` as a string, "" for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def last(node: ast.AST) -> str:
    """The `c` of `a.b.c`."""
    return dotted(node).split(".")[-1]


def imports(source: Source) -> list[Import]:
    """Every import of the file; `from a import b` gives "a.b", so that a module and a name look alike."""
    found: list[Import] = []
    _collect_imports(source, source.tree, True, found)
    return found


def _collect_imports(source: Source, node: ast.AST, at_import: bool, found: list[Import]) -> None:
    for child in ast.iter_child_nodes(node):
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            here = ["opensam", *source.module.split(".")]
            base = ".".join([*(here[: len(here) - child.level] if child.level else []), child.module or ""])
            names = [f"{base.strip('.')}.{alias.name}" for alias in child.names]
        elif isinstance(child, ast.Call) and last(child.func) in {"import_module", "__import__"}:
            names = [argument.value for argument in child.args[:1] if isinstance(argument, ast.Constant)]
        found += [Import(name, child.lineno, at_import) for name in names]
        only_types = isinstance(child, ast.If) and "TYPE_CHECKING" in dotted(child.test)
        later = only_types or isinstance(child, Function | ast.Lambda)
        _collect_imports(source, child, at_import and not later, found)


def own_imports(source: Source, modules: set[str]) -> Iterator[tuple[Import, str]]:
    """Imports of our own modules, with the module that each one means."""
    for one in imports(source):
        head, _, name = one.name.partition(".")
        if head != "opensam":
            continue
        parts = name.split(".") if name else []
        ends = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
        candidates = [candidate for end in ends for candidate in (end, f"{end}.__init__")]
        yield one, next((candidate for candidate in candidates if candidate in modules), "__init__")


def within(name: str, libraries: Iterable[str]) -> bool:
    """Whether a dotted name is one of these libraries or lies inside one."""
    return any(name == library or name.startswith(library + ".") for library in libraries)


def functions(source: Source) -> Iterator[Function]:
    """Every function of the file, nested ones too."""
    return (node for node in ast.walk(source.tree) if isinstance(node, Function))


def public(node: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Public functions, classes and methods below a module or a class, not the ones inside functions."""
    for child in node.body:
        if isinstance(child, Function | ast.ClassDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


# ---- the rules ---------------------------------------------------------------------------------------------


def unplaced(sources: list[Source]) -> list[str]:
    """Every module stands on a floor."""
    return [f"{source.module} stands on no floor; give it one here" for source in sources if source.floor == NOWHERE]


def upward(sources: list[Source]) -> list[str]:
    """A module imports lower floors only; modules on one floor do not know each other."""
    modules = {source.module for source in sources}
    found = []
    for source in sources:
        for one, target in own_imports(source, modules):
            part = target.split(".")[0]
            if part != source.part and FLOOR_OF.get(part, NOWHERE) >= source.floor:
                found.append(f"{source.module}:{one.line} (floor {source.floor}) imports {one.name}")
    return found


def cycles(sources: list[Source]) -> list[str]:
    """No module knows itself by way of others; late imports and imports for types count."""
    modules = {source.module for source in sources}
    graph = {source.module: {target for _, target in own_imports(source, modules)} for source in sources}
    found = []
    for start in graph:
        seen, todo = set(), list(graph[start] - {start})
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo += graph.get(module, ())
        if start in seen:
            found.append(f"{start} is part of an import cycle")
    return found


def screens(sources: list[Source]) -> list[str]:
    """Below the faces nobody knows a screen, a server, a drawing or a cluster library, or prints."""
    found = []
    for source in (source for source in sources if source.floor < FACES):
        found += [
            f"{source.module}:{one.line} imports {one.name}" for one in imports(source) if within(one.name, SCREENS)
        ]
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and dotted(node.func) == "print":
                found.append(f"{source.module}:{node.lineno} calls print")
            if dotted(node) in {"sys.stdout", "sys.stderr"}:
                found.append(f"{source.module}:{node.lineno} uses {dotted(node)}")
    return found


def environment(sources: list[Source]) -> list[str]:
    """Below the faces only `distributed` reads environment variables."""
    names = {"os.environ", "os.environb", "os.getenv", "os.putenv"}
    found = []
    for source in sources:
        if source.floor >= FACES or source.part == "distributed":
            continue
        lines = [one.line for one in imports(source) if one.name in names]
        lines += [node.lineno for node in ast.walk(source.tree) if dotted(node) in names]
        found += [f"{source.module}:{line} reads the environment" for line in lines]
    return found


def pure_networks(sources: list[Source]) -> list[str]:
    """Networks speak tensors only: no arrays, files, device names or autocast in `models`."""
    found = []
    for source in (source for source in sources if source.part == "models"):
        file_side = source.module in FILE_SIDE_OF_MODELS
        banned = NOT_IN_MODELS if file_side else NOT_IN_MODELS | FILE_LIBRARIES
        found += [
            f"{source.module}:{one.line} imports {one.name}" for one in imports(source) if within(one.name, banned)
        ]
        for node in () if file_side else ast.walk(source.tree):
            if isinstance(node, ast.Call) and dotted(node.func) in FILE_CALLS:
                found.append(f"{source.module}:{node.lineno} calls {dotted(node.func)}")
            if isinstance(node, ast.Constant) and str(node.value).split(":")[0] in DEVICES:
                found.append(f"{source.module}:{node.lineno} names the device {node.value!r}")
            if last(node) == "autocast":
                found.append(f"{source.module}:{node.lineno} uses autocast")
    return found


def light_core(sources: list[Source]) -> list[str]:
    """Importing a module loads core libraries only; what an extra brings is imported where it is used."""
    found = []
    for source in sources:
        built_on = {extra for home, extras in BUILT_ON.items() if within(source.module, {home}) for extra in extras}
        for one in imports(source):
            where = f"{source.module}:{one.line} imports {one.name}"
            for home, extras in BUILT_ON.items():
                if within(one.name, {f"opensam.{home}"}) and one.at_import and not extras <= built_on:
                    found.append(f"{where}, which is built on {', '.join(sorted(extras))}, at once")
            if within(one.name, EXTRAS):
                if one.at_import and not within(one.name, built_on):
                    found.append(f"{where}, from an extra, at once; import it in the function that needs it")
            elif one.name.split(".")[0] not in CORE | sys.stdlib_module_names | {"opensam"}:
                found.append(f"{where}, which no dependency of opensam brings")
    return found


def budgets(sources: list[Source]) -> list[str]:
    """Files and functions stay short enough to be read at once."""
    found = []
    for source in sources:
        limit = FILE_LINES_HARD if source.module in LONG_FILES else FILE_LINES
        if (lines := len(source.text.splitlines())) > limit:
            found.append(f"{source.module} has {lines} lines, more than {limit}")
        for function in functions(source):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > FUNCTION_LINES:
                where = f"{source.module}:{function.lineno} {function.name}"
                found.append(f"{where} has {lines} lines, more than {FUNCTION_LINES}")
    return found


def documented(sources: list[Source]) -> list[str]:
    """Every module, public class and public function says what it is; overloads need not."""
    found = []
    for source in sources:
        if source.text.strip() and not ast.get_docstring(source.tree):
            found.append(f"{source.module} has no docstring")
        for node in public(source.tree):
            overload = any(last(decorator) == "overload" for decorator in node.decorator_list)
            if not overload and not ast.get_docstring(node):
                found.append(f"{source.module}:{node.lineno} {node.name} has no docstring")
    return found


def typed(sources: list[Source]) -> list[str]:
    """Every public function gives the types of its arguments and of what it returns."""
    found = []
    for source in sources:
        for node in public(source.tree):
            if isinstance(node, ast.ClassDef):
                continue
            every = node.args
            arguments = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
            untyped = [one.arg for one in arguments if one and not one.annotation]
            untyped = [name for name in untyped if name not in {"self", "cls"}]
            if node.returns is None:
                untyped.append("return")
            found += [f"{source.module}:{node.lineno} {node.name}: no type for {name}" for name in untyped]
    return found


Rule = Callable[[list[Source]], list[str]]
RULES: list[Rule] = [
    unplaced, upward, cycles, screens, environment, pure_networks, light_core, budgets, documented, typed
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    sources = read_sources(PACKAGE)
    assert len(sources) > 10, f"the guard looks in the wrong place: {PACKAGE}"
    assert rule(sources) == []


# ---- the guard itself --------------------------------------------------------------------------------------

HEAD = '"""A module."""\n'
LONG_FUNCTION = f'{HEAD}\n\ndef walk() -> None:\n    """Walk."""\n' + "    pass\n" * FUNCTION_LINES


def in_function(line: str) -> str:
    """A documented module whose one private function holds this line."""
    return f"{HEAD}\n\ndef _run() -> None:\n    {line}\n"


# (rule, files of a tree, what the sentence must contain)
PLANTED: list[tuple[Rule, dict[str, str], str]] = [
    (unplaced, {"novelty.py": HEAD}, "novelty stands on no floor"),
    (upward, {"geometry.py": "import opensam.predictor\n", "predictor.py": ""}, "geometry:1 (floor 0)"),
    (upward, {"models/sam.py": "from opensam import predictor\n", "predictor.py": ""}, "opensam.predictor"),
    (upward, {"models/sam.py": "from ..predictor import Predictor\n", "predictor.py": ""}, "models.sam"),
    (upward, {"masks.py": in_function("from opensam.eval.report import a"), "eval/report.py": ""}, "masks:5"),
    (upward, {"masks.py": "importlib.import_module('opensam.amg')\n", "amg.py": ""}, "imports opensam.amg"),
    (upward, {"masks.py": "if TYPE_CHECKING:\n    from opensam.amg import Amg\n", "amg.py": ""}, "masks:2"),
    (upward, {"masks.py": "from opensam.geometry import Resize\n", "geometry.py": ""}, "geometry.Resize"),
    (upward, {"train/loop.py": "import opensam.export.onnx\n", "export/onnx.py": ""}, "opensam.export"),
    (upward, {"files.py": "from opensam.masks import area\n", "masks.py": ""}, "files:1 (floor -1)"),
    (upward, {"predictor.py": "from opensam import load\n", "__init__.py": ""}, "opensam.load"),
    (
        cycles,
        {"models/a.py": "from .b import x\n", "models/b.py": in_function("from opensam.models.c import x"),
         "models/c.py": "from opensam.models import a\n"},
        "models.b is part of an import cycle",
    ),
    (screens, {"amg.py": in_function("import rich.progress")}, "imports rich.progress"),
    (screens, {"masks.py": "from PIL import Image, ImageDraw\n"}, "imports PIL.ImageDraw"),
    (screens, {"engine/store.py": in_function("print(1)")}, "engine.store:5 calls print"),
    (screens, {"masks.py": in_function("sys.stderr.write('')")}, "uses sys.stderr"),
    (environment, {"models/zoo.py": in_function("os.environ['A']")}, "models.zoo:5"),
    (environment, {"image.py": "from os import getenv\n"}, "image:1"),
    (pure_networks, {"models/sam.py": "import numpy as np\n"}, "imports numpy"),
    (pure_networks, {"models/zoo.py": "from PIL import Image\n"}, "imports PIL"),
    (pure_networks, {"models/vit.py": "from pathlib import Path\n"}, "imports pathlib"),
    (pure_networks, {"models/vit.py": "from opensam.files import replacing\n"}, "imports opensam.files"),
    (pure_networks, {"models/vit.py": in_function("open('a')")}, "calls open"),
    (pure_networks, {"models/vit.py": in_function("torch.load('a')")}, "calls torch.load"),
    (pure_networks, {"models/vit.py": in_function("x.to('cuda:0')")}, "the device 'cuda:0'"),
    (pure_networks, {"models/vit.py": in_function("torch.autocast(x)")}, "uses autocast"),
    (light_core, {"eval/metrics.py": "from scipy import ndimage\n"}, "at once"),
    (light_core, {"cli/serve.py": "from opensam.serve.app import create_app\n"}, "built on fastapi"),
    (light_core, {"serve/app.py": "import onnxruntime\n"}, "at once"),
    (light_core, {"train/loop.py": "from lightning_fabric import Fabric\n"}, "at once"),
    (light_core, {"config.py": "try:\n    import yaml\nexcept ImportError:\n    pass\n"}, "no dependency"),
    (light_core, {"amg.py": in_function("from torchvision.ops import nms")}, "no dependency"),
    (budgets, {"masks.py": "A = 1\n" * (FILE_LINES + 1)}, "masks has 401 lines"),
    (budgets, {"masks.py": LONG_FUNCTION}, "walk has 62 lines"),
    (documented, {"masks.py": "A = 1\n"}, "masks has no docstring"),
    (documented, {"masks.py": f"{HEAD}def area(): ...\n"}, "area has no docstring"),
    (documented, {"masks.py": f"{HEAD}class Rle: ...\n"}, "Rle has no docstring"),
    (documented, {"masks.py": f"{HEAD}class A:\n    'A.'\n    def b(self): ...\n"}, "b has no docstring"),
    (typed, {"masks.py": "def area(mask: int): ...\n"}, "area: no type for return"),
    (typed, {"masks.py": "class A:\n    def b(self, *, mask) -> int: ...\n"}, "b: no type for mask"),
]  # fmt: skip


def plant(folder: Path, files: dict[str, str]) -> list[Source]:
    """Write a package with these files and read it as the guard reads ours."""
    for name, text in files.items():
        path = folder / "opensam" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_sources(folder / "opensam")


@pytest.mark.parametrize(("rule", "files", "sentence"), PLANTED)
def test_a_planted_violation_is_found(rule: Rule, files: dict[str, str], sentence: str, tmp_path: Path) -> None:
    found = rule(plant(tmp_path, files))
    assert any(sentence in line for line in found), found


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _, _ in PLANTED} == set(RULES)


ALLOWED = {
    "__init__.py": "def __getattr__(name: str) -> type:\n    from opensam.predictor import Predictor\n",
    "__main__.py": "from opensam.cli import main\n",
    "cli/__init__.py": "import os\nimport typer\nimport opensam\nfrom .show import show\nos.environ['A']\n",
    "cli/show.py": "def show() -> None:\n    'Show.'\n    from matplotlib import pyplot\n    print(1)\n",
    "distributed.py": "import os\nos.environ['RANK']\n",
    "files.py": "",
    "image.py": "from opensam.files import replacing\n",
    "geometry.py": "import torch.nn.functional as F\nfrom numpy.typing import NDArray\n",
    "models/sam.py": "from torch import nn\nfrom opensam.geometry import Resize\nfrom .layers import Mlp\n",
    "models/layers.py": "class Mlp:\n    'The cpu does it.'\n    def _hidden(self, x): ...\n",
    "models/zoo.py": "from pathlib import Path\nfrom safetensors.torch import load\nopen('a')\nx = 'cpu'\n",
    "predictor.py": "from opensam.models import sam\nfrom opensam import geometry\n",
    "train/loop.py": "if TYPE_CHECKING:\n    import scipy\ndef _fit():\n    import lightning_fabric\n",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_allowed_is_not_reported(rule: Rule, tmp_path: Path) -> None:
    assert rule(plant(tmp_path, {name: HEAD + text for name, text in ALLOWED.items()})) == []
