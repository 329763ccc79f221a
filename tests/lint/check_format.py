"""Fails if a C++ file is not as clang-format leaves it; --fix formats instead.

Runs the clang-format that tests/requirements.txt pins, from the same environment as this Python.
"""

import pathlib
import subprocess
import sys

import source_tree


def clang_format(root: pathlib.Path, *options: str) -> int:
    paths = [str(path) for path in source_tree.cpp_files(root)]
    if not paths:
        print("format: found no C++ files")
        return 1
    program = pathlib.Path(sys.executable).parent / "clang-format"
    style = f"--style=file:{source_tree.ROOT / '.clang-format'}"
    return subprocess.run([program, style, *options, *paths], check=False).returncode


def check(root: pathlib.Path) -> int:
    return clang_format(root, "--dry-run", "--Werror", "--ferror-limit=3")


def main() -> int:
    if "--fix" in sys.argv[1:]:
        return clang_format(source_tree.ROOT, "-i")
    failed = check(source_tree.ROOT)
    print("format: run `make format`" if failed else "format: ok")
    return failed


if __name__ == "__main__":
    sys.exit(main())
