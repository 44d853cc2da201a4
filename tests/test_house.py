"""The shape and the language of the source: figures that may improve and must not get worse.

``python tests/test_house.py`` prints today's figures and what counts against them.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imagesearch
from imagesearch import DescriptorEmbedder, ImageIndex, LocalStore, Query

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "imagesearch"
MAX_FILE_LINES = 450

# (figure, the most that passes, what the project aims at). Lower a limit whenever a figure falls.
LIMITS = [
    ("modules", 198, 125),
    ("lines", 50_500, 31_000),
    ("files of more than 450 lines", 14, 0),
    ("files run by search", 23, 11),
    ("files run by add", 21, 11),
    ("percentage of lines that import", 6.6, 5.0),
    ("file names that occur more than once", 8, 3),
    ("import cycles", 0, 0),
    ("names in imagesearch.__all__", 27, 28),
    ("layers", 7, 7),
    ("messages that are read for their meaning", 0, 0),
    ("banned words in source and documents", 0, 0),
    ("banned words in tests", 0, 0),
    ("locals with vague names", 52, 0),
    ("pictures in source and documents", 0, 0),
]

# What reads as translated. `is no` is fine in "there is no index" and "is no longer".
BANNED = re.compile(
    r"\b(?:mend(?:s|ed|ing)?|besides|shall|of whom|said to be|kin|ways out|somebody|nobody|told"
    r"|goes before)\b|(?<!there )\bis no (?!(?:longer|more|less|better|faster|slower)\b)",
    re.IGNORECASE,
)
# Quoted, and not the author's own words: a user of Unix, owners of invented repositories, this list.
ALLOWED = {
    "CONTRIBUTING.md": r"`[^`\n]*`",
    "tests/stores/test_local_store_permissions.py": r"(?i)\bnobody\b",
    "tests/embedders/test_clip_weights.py": r"somebody[/-]",
    "tests/embedders/test_hub.py": r"somebody/",
}
VAGUE = {"one", "some", "each", "what", "wanted", "found", "known", "place"}
# The page speaks of pictures, because its readers do; names of the first release still work.
PICTURES = re.compile(r"(?<![\w/.-])pictures?\b(?![/.(`\"])", re.IGNORECASE)
PAGE = ("src/imagesearch/ui/", "CONTRIBUTING.md", "docs/web-page.md", "docs/drawings/")

Graph = dict[str, set[str]]


@cache
def modules() -> dict[str, Path]:
    """Every module of the library, by its dotted name."""
    named = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("imagesearch", *path.relative_to(SOURCE).with_suffix("").parts)
        named[".".join(parts).removesuffix(".__init__")] = path
    return named


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def inside(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Give import statements, those of functions included, but not those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from imports(node)


def import_graph() -> Graph:
    graph: Graph = {}
    for name, path in modules().items():
        targets = set()
        for node in imports(tree_of(path)):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            else:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= (inner & modules().keys()) or {str(node.module)}
        graph[name] = targets & modules().keys()
    return graph


def cycles() -> list[str]:
    """Return the groups of modules that import each other, however long the way round is."""
    graph = import_graph()
    reachable = {name: reach(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reachable[name] if name in reachable[other])
        for name in graph
        if name in reachable[name]
    }
    return [" ↔ ".join(sorted(group)) for group in groups]


def reach(graph: Graph, start: str) -> set[str]:
    reached, waiting = set(), list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph[name]
    return reached


def all_lines() -> list[str]:
    return [line for path in modules().values() for line in text_of(path).splitlines()]


def share_of_imports() -> float:
    lines = sum(
        node.end_lineno - node.lineno + 1
        for path in modules().values()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return round(100 * lines / len(all_lines()), 1)


def long_files() -> list[str]:
    lengths = {path: len(text_of(path).splitlines()) for path in modules().values()}
    return [f"{inside(path)}: {n} lines" for path, n in lengths.items() if n > MAX_FILE_LINES]


def repeated_names() -> list[str]:
    names = Counter(path.name for path in modules().values())
    usual = {"__init__.py", "store.py"}
    return [f"{name}: {n} times" for name, n in names.items() if n > 1 and name not in usual]


def layers() -> list[str]:
    settings = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return [layer for contract in contracts for layer in contract.get("layers", ())]


@cache
def files_run() -> dict[str, list[str]]:
    """Return which files of ``index`` and ``stores`` run in one call on a local index.

    These are the files that a reader opens who follows the call down to SQL and the vectors file.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.png")
        Image.linear_gradient("L").save(image)
        store = LocalStore(Path(folder, "index"))
        with ImageIndex(embedder=DescriptorEmbedder(), store=store) as index:
            added = _files_of(lambda: index.add(image))
        with ImageIndex(embedder=DescriptorEmbedder(), store=store) as index:
            query = Query.vector(np.ones(index.embedder.spec.dim, np.float32))
            searched = _files_of(lambda: index.search(query, where="not label exists"))
    return {"add": added, "search": searched}


def _files_of(call: Callable[[], object]) -> list[str]:
    files = set()

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            files.add(frame.f_code.co_filename)

    before = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    prefixes = tuple(f"{SOURCE / name}/" for name in ("index", "stores"))
    return sorted(inside(Path(name)) for name in files if name.startswith(prefixes))


def messages_read() -> list[str]:
    """Return where the text of an error of ours is compared, searched or taken apart.

    Errors have fields for that. The text of an error of another library may be read in a handler
    that names its class, because often there is nothing else.
    """
    places = []
    for path in modules().values():
        reader = _MessageReader()
        reader.visit(tree_of(path))
        places += [f"{inside(path)}:{line}" for line in reader.lines]
    return places


class _MessageReader(ast.NodeVisitor):
    _PARSING = {"startswith", "endswith", "partition", "rpartition", "find", "index", "split"}
    _PATTERNS = {"match", "search", "fullmatch", "split", "findall", "finditer", "sub"}

    def __init__(self):
        self.lines: set[int] = set()
        self._ours: set[str] = set()
        self._errors: list[str] = []
        self._texts: list[str] = []

    def visit_ImportFrom(self, node):
        if (node.module or "").startswith("imagesearch"):
            self._ours |= {alias.name for alias in node.names if alias.name.endswith("Error")}

    def visit_FunctionDef(self, node):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [a.arg for a in arguments if a.annotation and self._is_ours(a.annotation)]
        self._within(names, node)

    def visit_ExceptHandler(self, node):
        self._within(
            [node.name] if node.name and node.type and self._is_ours(node.type) else [], node
        )

    def visit_Assign(self, node):
        if self._is_text(node.value) and isinstance(node.targets[0], ast.Name):
            self._texts.append(node.targets[0].id)
        self.generic_visit(node)

    def visit_Compare(self, node):
        if any(map(self._is_text, [node.left, *node.comparators])):
            self.lines.add(node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute):
            parsed = (
                node.args and node.func.attr in self._PARSING and self._is_text(node.func.value)
            )
            searched = node.func.attr in self._PATTERNS and any(map(self._is_text, node.args))
            if parsed or searched:
                self.lines.add(node.lineno)
        self.generic_visit(node)

    def _within(self, names, node):
        errors, texts = list(self._errors), list(self._texts)
        self._errors += names
        self.generic_visit(node)
        self._errors, self._texts = errors, texts

    def _is_ours(self, annotation):
        broad = {"Exception", "BaseException", *self._ours}
        return any(isinstance(n, ast.Name) and n.id in broad for n in ast.walk(annotation))

    def _is_text(self, node):
        match node:
            case ast.Name(id=name):
                return name in self._texts
            case ast.Call(func=ast.Name(id="str" | "repr"), args=[ast.Name(id=name)]):
                return name in self._errors or name == "reason"
            case ast.Subscript(value=ast.Attribute(value=ast.Name(id=name), attr="args")):
                return name in self._errors
        return False


@cache
def written(*folders: str) -> list[Path]:
    """Return the files of these folders, and the documents of the root, that people read."""
    kinds = {".py", ".md", ".ipynb", ".toml", ".yml"}
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    paths = [path for path in paths if path.suffix in kinds and "__pycache__" not in path.parts]
    if "docs" in folders:
        paths += [
            path for path in ROOT.glob("*") if path.suffix in kinds or path.name == "Makefile"
        ]
    return sorted(path for path in paths if path != Path(__file__))


_DOCUMENTS = ("src", "docs", "examples", "benchmarks")


def banned_words(*folders: str) -> list[str]:
    lines = []
    for path in written(*folders):
        allowed = ALLOWED.get(inside(path))
        for number, line in enumerate(text_of(path).splitlines(), 1):
            words = BANNED.findall(re.sub(allowed, "", line) if allowed else line)
            lines += [f"{inside(path)}:{number}: {word.strip()}" for word in words]
    return lines


def pictures() -> list[str]:
    return [
        f"{inside(path)}:{number}"
        for path in written(*_DOCUMENTS)
        if not inside(path).startswith(PAGE) and path.suffix in {".py", ".md"}
        for number, line in enumerate(text_of(path).splitlines(), 1)
        for _ in PICTURES.findall(line)
    ]


def vague_locals() -> list[str]:
    return [
        f"{inside(path)}:{node.lineno}: {node.id}"
        for path in modules().values()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE
    ]


# A figure is a number, or the number of lines that count against it.
FIGURES: dict[str, Callable[[], float | list[str]]] = {
    "modules": lambda: len(modules()),
    "lines": lambda: len(all_lines()),
    "files of more than 450 lines": long_files,
    "files run by search": lambda: files_run()["search"],
    "files run by add": lambda: files_run()["add"],
    "percentage of lines that import": share_of_imports,
    "file names that occur more than once": repeated_names,
    "import cycles": cycles,
    "names in imagesearch.__all__": lambda: len(imagesearch.__all__),
    "layers": lambda: len(layers()),
    "messages that are read for their meaning": messages_read,
    "banned words in source and documents": lambda: banned_words(*_DOCUMENTS),
    "banned words in tests": lambda: banned_words("tests"),
    "locals with vague names": vague_locals,
    "pictures in source and documents": pictures,
}


def measured(figure: str) -> tuple[float, list[str]]:
    value = FIGURES[figure]()
    return (len(value), value) if isinstance(value, list) else (value, [])


@pytest.mark.parametrize(("figure", "limit"), [(figure, limit) for figure, limit, _ in LIMITS])
def test_no_figure_of_the_source_gets_worse(figure, limit):
    number, lines = measured(figure)
    assert number <= limit, "\n".join(lines)


def test_every_figure_has_a_limit():
    assert [figure for figure, _, _ in LIMITS] == list(FIGURES)


def main() -> None:
    """Print each figure with its limit and its target; with ``-v`` also what counts against it."""
    print(f"{'figure':42} {'now':>8} {'limit':>8} {'target':>8}")
    for figure, limit, target in LIMITS:
        number, lines = measured(figure)
        print(f"{figure:42} {number:>8} {limit:>8} {target:>8}")
        if "-v" in sys.argv:
            print(*(f"    {line}" for line in lines), sep="\n")


if __name__ == "__main__":
    main()
