"""Logs: a line a record, whatever others wrote into it."""

import io
import logging

from services.logging import FORMAT, OneLine


def test_a_record_is_one_line_and_commands_no_terminal() -> None:
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(OneLine(FORMAT))
    record = logging.LogRecord("a", logging.ERROR, "", 0, "row %s", ("x\n2026 INFO forged\x1b[2J",), None)
    handler.handle(record)
    assert sink.getvalue().count("\n") == 1
    assert "row x\\n2026 INFO forged\\x1b[2J" in sink.getvalue()
    assert "\x1b" not in sink.getvalue()
