"""Fails if a file names a place that exists on one machine only: its folders, its registries.

Usage: check_text.py [ROOT]
"""

import pathlib
import re
import sys

import source_tree

# [.] and [/] keep this file from matching itself.
MACHINE = {
    "a path of one machine": r"(?<![\w.])/work[/]|/tmp/wt\b(?=[/])",
    "a registry's host": r"\b(deb|snapshot)[.]debian[.]org\b|\bfiles[.]pythonhosted[.]org\b"
                         r"|\b[\w-]+[.]pkg[.]dev\b|\bartifactory\b(?=[.])",
}


def problems(root: pathlib.Path):
    for path in source_tree.files(root):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a model, an image
        for number, line in enumerate(text.splitlines(), start=1):
            for what, pattern in MACHINE.items():
                found = re.search(pattern, line)
                if found:
                    yield f"{path.relative_to(root)}:{number}: {what}: {found[0]}"


def main() -> int:
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else source_tree.ROOT
    found = list(problems(root))
    print("\n".join(found) or "text: ok")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
