"""The picture of MLflow's page that the documentation shows: a real sweep, its server, a real browser.

python docs/mlflow_picture.py [runs/demo]      writes docs/mlflow.png; needs Chromium
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from sweeper.library.syncing import sync
from sweeper.mirror.client import ENVIRONMENT
from sweeper.mirror.saved_view import LOCAL
from sweeper.store.store import Store

LARGEST = 150_000  # bytes
SERVER = "http://127.0.0.1:5071"
SECONDS = 180


def main(folder: Path, picture: Path) -> None:
    """Mirror what is not mirrored yet, serve it, and take the view of the sweep's cells."""
    store = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
    address = sync(Store(folder.absolute()), uri=store).mlflow[1].replace(LOCAL, SERVER)
    command = [sys.executable, "-m", "mlflow", "server", "--port", SERVER.rpartition(":")[2], "--workers", "1"]
    log = folder / "server.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(  # noqa: S603 - MLflow's own server
            [*command, "--backend-store-uri", store],
            env={**os.environ, **ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            cwd=folder,
            stdout=stream,
            stderr=stream,
        )
    try:
        _await_server()
        _take(address, picture)
    finally:
        server.terminate()
        server.wait()
    if (size := picture.stat().st_size) > LARGEST:
        raise SystemExit(f"{picture}: {size:,} bytes, more than {LARGEST:,}")


def _await_server() -> None:
    for _ in range(SECONDS):
        try:
            urllib.request.urlopen(f"{SERVER}/health", timeout=5).close()  # noqa: S310 - a constant of this module
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise SystemExit(f"no server within {SECONDS} s")


def _take(address: str, picture: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 760})
        page.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        page.goto(address)
        page.wait_for_selector(".ag-cell", timeout=SECONDS * 1000)
        page.wait_for_timeout(3000)
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(Path((sys.argv[1:] or ["runs/demo"])[0]), Path(__file__).with_name("mlflow.png"))
