"""Draws Octet's dashboards with live data, in a headless browser: docs/images/dashboard-*.png.

  build/venv/bin/python -m tests.observability.render.render [FOLDER]

Two servers under a load that changes, Prometheus, and a page that draws the dashboards with the
components that Grafana publishes (@grafana/ui). It is not Grafana: heat maps are a plain grid, and
annotations are not drawn. Needs node and npm, which get the packages of package.json into
build/render, prometheus and chromium. Fails if a panel has no data or cannot be drawn.
"""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e import browser
from tests.observability import stack, traffic
from tests.observability.render import palette

HERE = Path(__file__).resolve().parent
BUILD = stack.ROOT / "build" / "render"
DASHBOARDS = stack.DEPLOY / "grafana" / "dashboards"
IMAGES = stack.ROOT / "docs" / "images"
PAGE = b"""<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css">
<style>html { font-size: 14px } body { background: #111217 }</style><div id="root"></div>
<script src="/page.js"></script>"""
# Seconds of each part of the load: few clients, many, few with input unlike the calibration data.
PARTS = ((50, 2, 1.0), (50, 8, 1.0), (60, 3, 3.0))


def bundle() -> None:
    """page.js and page.css in build/render."""
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package.json").read_text()
    stamp = BUILD / "installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        (BUILD / "package.json").write_text(wanted)
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=BUILD,
                       check=True)
        stamp.write_text(wanted)
    subprocess.run(["node", str(HERE / "bundle.mjs")], cwd=BUILD, check=True)


@contextmanager
def page_server(prometheus: str) -> Iterator[str]:
    """The page, the dashboards, and Prometheus under one address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the library's name)
            path = self.path.partition("?")[0]
            files = {"/page.js": (BUILD / "page.js", "text/javascript"),
                     "/page.css": (BUILD / "page.css", "text/css")}  # fmt: skip
            files |= {f"/{file.name}": (file, "application/json") for file in DASHBOARDS.iterdir()}
            if path == "/":
                self._answer(200, PAGE, "text/html")
            elif path.startswith("/prometheus/"):
                self._pass_on(self.path.removeprefix("/prometheus"))
            elif path in files and files[path][0].is_file():
                self._answer(200, files[path][0].read_bytes(), files[path][1])
            elif path.startswith("/public/fonts/") or path == "/favicon.ico":
                self._answer(200, b"", "font/woff2")  # not published; the browser has others
            else:
                # Icons, which Grafana's components fetch from wherever Grafana would be.
                public = (BUILD / "node_modules/@grafana/ui/dist/public").resolve()
                icon = (public / ("img/" + path.partition("/img/")[2])).resolve()
                if icon.is_file() and public in icon.parents:
                    self._answer(200, icon.read_bytes(), "image/svg+xml")
                else:
                    self._answer(404, f"no {path}".encode(), "text/plain")

        def _pass_on(self, path: str) -> None:
            try:
                with urllib.request.urlopen(prometheus + path, timeout=30) as reply:
                    self._answer(reply.status, reply.read(), "application/json")
            except urllib.error.HTTPError as error:
                self._answer(error.code, error.read(), "application/json")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def under_load(servers: list, files: list[Path]) -> Iterator[float]:
    """Seconds that the parts took; the last one goes on until the context ends."""
    start = time.monotonic()
    for number, (seconds, clients, scale) in enumerate(PARTS):
        with ExitStack() as loads:
            for index, server in enumerate(servers):
                load = traffic.Load(server, clients=max(1, clients - index), rows=2)
                load.scale = scale
                loads.enter_context(load)
            if number == 1:  # a change that is taken up while they ask
                for file in files:
                    file.write_text(file.read_text().replace("queue_size: 64", "queue_size: 128"))
            threading.Event().wait(seconds)
            if number == len(PARTS) - 1:
                yield time.monotonic() - start


def draw(page: browser.Page, url: str, query: str, file: Path) -> list[str]:
    """What was wrong."""
    page.call("Emulation.setDeviceMetricsOverride", width=1416, height=900, deviceScaleFactor=1,
              mobile=False)
    page.call("Page.navigate", url=f"{url}/?{query}")
    stack.await_true(lambda: page.run("window.octet !== undefined"), lambda: page.errors, 120)
    page.screenshot(file)
    file.write_bytes(palette.with_palette(file.read_bytes()))
    return page.run("window.octet.problems") + page.errors


def main() -> int:
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    images.mkdir(parents=True, exist_ok=True)
    bundle()
    problems = []
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as running:
        servers, files = [], []
        for name in ("first", "second"):
            (Path(temporary) / name).mkdir()
            server, file = running.enter_context(traffic.served(Path(temporary) / name))
            servers.append(server)
            files.append(file)
        targets = [server.http_address.removeprefix("http://") for server in servers]
        prometheus = running.enter_context(
            stack.prometheus(Path(temporary) / "prometheus", targets))
        url = running.enter_context(page_server(prometheus.address))
        profile = Path(temporary) / "browser"
        profile.mkdir()
        page = running.enter_context(browser.page(profile))
        seconds = running.enter_context(under_load(servers, files))
        until = f"model=digits&seconds={seconds:.0f}&to={time.time() * 1000:.0f}"
        for dashboard in sorted(DASHBOARDS.glob("*.json")):
            file = images / f"dashboard-{dashboard.stem}.png"
            for problem in draw(page, url, f"dashboard={dashboard.stem}&{until}", file):
                problems.append(f"{dashboard.stem}: {problem}")
            print(f"{file}: {os.path.getsize(file) // 1024} kB")
    print("\n".join(problems) or "every panel is drawn and has data")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
