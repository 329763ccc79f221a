"""Runs clang-tidy on the files that changed, or on all of them.

    check_tidy.py [--all] [--build DIR]

"Changed" is what differs from the branch point with main, or from the last commit when on main,
with the sources of changed headers. Without git history there is nothing to compare with: skipped
(exit code 77). Only files that the build in DIR (default build/dev) compiles are looked at.
"""

import argparse
import concurrent.futures
import functools
import json
import os
import pathlib
import subprocess
import sys

import source_tree

SKIPPED = 77


def compiled_files(build: pathlib.Path):
    """Our own files that the build compiles; generated ones are not."""
    commands = json.loads((build / "compile_commands.json").read_text())
    paths = {pathlib.Path(command["file"]).resolve() for command in commands}
    ours = {path.resolve() for path in source_tree.cpp_files(source_tree.ROOT)}
    return sorted(paths & ours)


def base_commit():
    """The commit to compare with, or None."""
    root = source_tree.ROOT
    head = source_tree.git(root, "rev-parse", "HEAD")
    for branch in ("origin/main", "main"):
        base = source_tree.git(root, "merge-base", "HEAD", branch)
        if base is not None and base != head:
            return base.strip()
    parent = source_tree.git(root, "rev-parse", "--verify", "--quiet", "HEAD~1")
    return parent.strip() if parent else None


def changed_files(base: str):
    names = source_tree.git(source_tree.ROOT, "diff", "--name-only", "--diff-filter=d", base)
    new = source_tree.git(source_tree.ROOT, "ls-files", "--others", "--exclude-standard")
    return {(source_tree.ROOT / name).resolve() for name in (names + new).splitlines()}


def affected(changed, compiled):
    """Changed sources, and foo.cc and foo_test.cc for a changed foo.h."""
    wanted = set(changed)
    for path in changed:
        if path.suffix == ".h":
            wanted |= {path.with_suffix(".cc"), path.with_name(path.stem + "_test.cc")}
    return [path for path in compiled if path in wanted]


@functools.cache
def gcc_headers() -> str:
    """Where omp.h is. Clang's own headers come first, so this must be searched last."""
    return subprocess.run(["g++", "-print-file-name=include"], capture_output=True, text=True,
                          check=True).stdout.strip()


def tidy(path: pathlib.Path, build: pathlib.Path):
    program = pathlib.Path(sys.executable).parent / "clang-tidy"
    result = subprocess.run([program, "-p", str(build), "--quiet",
                             f"--extra-arg=-idirafter{gcc_headers()}", str(path)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    return path, result


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--build", type=pathlib.Path, default=source_tree.ROOT / "build/dev")
    arguments = parser.parse_args()

    paths = compiled_files(arguments.build)
    if not arguments.all:
        base = base_commit()
        if base is None:
            print("tidy: skipped, no git history to tell what changed (`make check` tidies all)")
            return SKIPPED
        paths = affected(changed_files(base), paths)

    failures = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for path, result in pool.map(lambda path: tidy(path, arguments.build), paths):
            if result.returncode != 0:
                failures += 1
                # Errors of the compiler's front end come on stderr, findings on stdout.
                print(result.stdout or result.stderr, flush=True)
                print(f"{path.relative_to(source_tree.ROOT)}: failed", flush=True)
    print(f"tidy: {len(paths)} files, {failures} with problems")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
