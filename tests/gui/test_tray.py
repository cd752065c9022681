"""The icon in the system tray: where no panel takes one, nothing is missing and nothing is reported as an error."""

from __future__ import annotations

import gc
import logging
import threading

import pytest

from frontend.tray import Tray

pytestmark = pytest.mark.gui


def test_a_desktop_without_a_tray_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    gc.collect()  # windows of earlier tests: collected on the tray's thread they would wait for this one
    tray = Tray(show=lambda: None, stop_speaking=lambda: None, quit_window=lambda: None)
    tray.start()
    for thread in threading.enumerate():
        if thread.name == "tray":
            thread.join(10)
            assert not thread.is_alive(), "the tray's thread waits for a panel that is not there"
    tray.stop()
    assert "no system tray here" in caplog.text
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []
