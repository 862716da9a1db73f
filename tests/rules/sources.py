"""The project's files as the rules read them: which there are, and who imports whom."""

from __future__ import annotations

import ast
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is in the repository or about to be; without git, every file that is not hidden or made."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if (ROOT / ".git").exists() and shutil.which("git"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:  # git may refuse a checkout that belongs to somebody else
            return tuple(sorted(ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()))
    made = {"node_modules", "__pycache__", "build", "dist"}
    relative = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(sorted(ROOT / path for path in relative if not any(p in made or p[0] == "." for p in path.parts)))


def python_files(*folders: str) -> list[Path]:
    """Return the Python files below these folders of the project."""
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def name(path: Path) -> str:
    """Return a file's name as it is written in reports."""
    return str(path.relative_to(ROOT))


def module(path: Path) -> str:
    """Return the dotted name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    """Return the file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@dataclass(frozen=True)
class Import:
    """One module that another imports. ``typing`` imports happen only for the type checker, ``lazy`` ones in a call."""

    importer: str
    imported: str
    names: tuple[str, ...]
    typing: bool
    lazy: bool

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


def imports(path: Path) -> Iterator[Import]:
    """Yield every import of a file, wherever it stands in it."""
    yield from _imports(module(path), tree(path).body, typing=False, lazy=False)


def _imports(importer: str, body: list[ast.stmt], *, typing: bool, lazy: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, (), typing, lazy)
        elif isinstance(node, ast.ImportFrom):
            yield Import(importer, node.module or "", tuple(alias.name for alias in node.names), typing, lazy)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _imports(importer, node.body, typing=True, lazy=lazy)
            yield from _imports(importer, node.orelse, typing=typing, lazy=lazy)
        else:
            inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for _, value in ast.iter_fields(node):
                if isinstance(value, list):
                    blocks = [item for item in value if isinstance(item, ast.stmt | ast.ExceptHandler | ast.match_case)]
                    for item in blocks:
                        inner = [item] if isinstance(item, ast.stmt) else item.body
                        yield from _imports(importer, inner, typing=typing, lazy=inside)
