"""Fails if the source goes against the architecture: layers, doors, sizes, forbidden words.

The tables below are the architecture. Usage: check_layers.py [ROOT]
"""

import pathlib
import re
import sys

import source_tree

# Each layer is a folder and a library; it includes itself and what stands here.
MAY_USE = {
    "base": set(),
    "graph": {"base"},
    "quant": {"base", "graph"},
    "kernels": {"base", "graph"},
    "runtime": {"base", "graph", "quant", "kernels"},
    "proto": set(),
    "server": {"base", "graph", "quant", "kernels", "runtime", "proto"},
}

# A third-party library enters through its door only: folders or files.
DOORS = {
    r"(oneapi/)?dnnl": ["kernels/"],
    r"onnx/": ["graph/onnx/"],
    r"yaml-cpp/": ["server/config/"],
    r"prometheus/": ["server/metrics/"],
    r"grpc(pp)?/|.*\.grpc\.pb\.h$": ["server/grpc/", "server/main.cc"],
    r"civetweb|CivetServer": ["server/"],
    r"spdlog/|CLI/": ["server/"],
    r"openssl/": ["base/", "server/grpc/"],
    r"hwy/": ["kernels/", "quant/"],
    r"google/protobuf/(struct\.pb|util/json_util)\.h": ["runtime/"],
    r"jpeglib\.h|jerror\.h|png\.h": ["runtime/images/"],
}

# What must not be written, why, and where it may be all the same.
FORBIDDEN = [
    (r"\bthrow\b", "errors are absl::Status, nothing throws", []),
    (r"\babsl::Mutex\b|synchronization/mutex\.h",
     "ThreadSanitizer does not see absl::Mutex: use octet::Mutex", []),
    (r"\bstd::(recursive_|shared_|timed_)?mutex\b", "use octet::Mutex", ["base/mutex.h"]),
    (r"\bstd::string_view\b(?=.*[(,)])",
     "signatures take absl::string_view (in Debian 12 it is another type)", []),
    (r"absl/log/", "Debian 12's Abseil has no log library: spdlog, in server/", []),
    (r"(?m)^\s*using namespace\b.*", "no using-directive in a header", ["*.cc"]),
]

MAX_LINES = 400
MAX_TEST_LINES = 600

INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)
COMMENT_OR_STRING = re.compile(
    r'R"(\w*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def is_test(name: str) -> bool:
    return name.startswith("tests/") or name.endswith(("_test.cc", "_benchmark.cc"))


def size_problems(name: str, text: str):
    lines = text.count("\n")
    limit = MAX_TEST_LINES if is_test(name) else MAX_LINES
    if lines > limit:
        yield f"{name}: {lines} lines, the limit is {limit}"


def include_problems(name: str, text: str):
    layer = name.split("/")[0]
    if layer not in MAY_USE:
        return  # tests/ and examples/ may use everything
    for included in INCLUDE.findall(text):
        target = included.split("/")[0]
        if target in MAY_USE and target != layer and target not in MAY_USE[layer]:
            yield f"{name}: {layer} must not use {target} ({included})"
        if target == "tests" and not is_test(name):
            yield f"{name}: only tests may include {included}"
        for pattern, doors in DOORS.items():
            if re.match(pattern, included) and not name.startswith(tuple(doors)):
                yield f"{name}: only {' and '.join(doors)} may include {included}"


def word_problems(name: str, text: str):
    code = COMMENT_OR_STRING.sub(
        lambda match: match[0] if match[0].startswith('"') and "/" in match[0] else "", text)
    for pattern, reason, allowed in FORBIDDEN:
        if any(pathlib.PurePath(name).match(place) for place in allowed):
            continue
        found = re.search(pattern, code)
        if found:
            yield f"{name}: '{found[0].strip()}': {reason}"


def problems(root: pathlib.Path):
    for path in source_tree.cpp_files(root):
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        yield from size_problems(name, text)
        yield from include_problems(name, text)
        yield from word_problems(name, text)
        if path.suffix == ".h" and "#pragma once" not in text:
            yield f"{name}: a header needs #pragma once"


def main() -> int:
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else source_tree.ROOT
    found = list(problems(root))
    print("\n".join(found) or "layers: ok")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
