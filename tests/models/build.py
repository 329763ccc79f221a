"""Every model by name: the file, built or fetched when it is not in the cache.

    python -m tests.models.build --list
    python -m tests.models.build resnet50 [OUT]     # prints the file, or copies it to OUT
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from types import ModuleType

import onnx

from tests.models import (
    bert_base,
    cache,
    fetch,
    light,
    minilm,
    mobilenet_v2,
    packaged,
    ppocr,
    resnet50,
    zoo,
)

BUILDERS: dict[str, ModuleType] = {
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "bert_base": bert_base,
    "minilm": minilm,
}
NAMES = ("digits", *BUILDERS, *ppocr.FILES, *packaged.FILES, *light.NAMES, *zoo.MODELS)


def path(name: str) -> Path:
    """The .onnx file of a model.

    Raises fetch.FetchError when a package cannot be had and zoo.ZooMissing when OCTET_ZOO is unset.
    """
    if name == "digits":
        return cache.ROOT / "examples" / "models" / "digits" / "1" / "model.onnx"
    if name in BUILDERS:
        builder = BUILDERS[name]
        return cache.cached(f"{name}-{builder.VERSION}.onnx", lambda out: _write(builder, out))
    if name in ppocr.FILES:
        return ppocr.path(name)
    if name in packaged.FILES:
        return packaged.path(name)
    if name in light.NAMES:
        return light.path(name)
    if name in zoo.MODELS:
        return zoo.path(zoo.MODELS[name])
    raise ValueError(f"no model is named {name!r}; there are {', '.join(NAMES)}")


def _write(builder: ModuleType, out: Path) -> None:
    onnx.save(builder.build(), out)
    onnx.checker.check_model(str(out), full_check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=NAMES, metavar="NAME")
    parser.add_argument("out", nargs="?", type=Path, help="a file or folder to copy to")
    parser.add_argument("--list", action="store_true", help="the names")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(NAMES))
        return 0
    if arguments.name is None:
        parser.error("expected a NAME or --list")
    try:
        file = path(arguments.name)
    except (fetch.FetchError, zoo.ZooMissing) as error:
        print(error, file=sys.stderr)
        return 1
    print(shutil.copy(file, arguments.out) if arguments.out else file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
