"""The files of this project, with or without git."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOT_OURS = {"build", ".git", ".venv", ".cache", "__pycache__"}


def git(root: pathlib.Path, *arguments: str):
    """What `git ARGUMENTS` prints, or None if git or the history it needs is not there."""
    try:
        result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True,
                                text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout if result.returncode == 0 else None


def files(root: pathlib.Path):
    """All files that are tracked or about to be; in a tree without git, all but build output."""
    top = git(root, "rev-parse", "--show-toplevel")
    if top is not None and pathlib.Path(top.strip()).resolve() == root.resolve():
        names = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        paths = [root / name for name in names.split("\0") if name]
        return sorted(path for path in paths if path.is_file())
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        found += [pathlib.Path(folder) / name for name in names]
    return sorted(found)


def cpp_files(root: pathlib.Path):
    return [path for path in files(root) if path.suffix in {".h", ".cc"}]
