"""A command ends with one line for a mistake that the user can mend, and with a traceback for a bug."""

import errno
import io
import logging
import os
import re
import sys

import pytest

from nge_jax.errors import InputError
from nge_jax.settings import flags


def chained(error, cause):
    error.__cause__ = cause
    return error


MENDABLE = [
    (InputError("a key\n  in two lines"), "a key in two lines"),
    (OSError(errno.ENOSPC, "No space left on device", "/w/metrics.jsonl"), "no space is left on the disk"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space is left on the disk"),
    (ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device"), "no space is left"),
    (chained(RuntimeError("save"), OSError(errno.ENOSPC, "full")), "no space is left on the disk"),
    (PermissionError(errno.EACCES, "Permission denied", "/root/w"), "/root/w: Permission denied"),
    (OSError(errno.ENAMETOOLONG, "File name too long", "xx"), "xx: File name too long"),
    (MemoryError(), r"not enough memory \(the system gives no more\); a smaller batch"),
    (MemoryError("Unable to allocate 3 GiB for an array"), r"memory \(Unable to allocate 3 GiB for"),
    (chained(ValueError("x"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")),
     r"not enough memory \(Out of memory allocating 9 bytes\.\)"),
    (RuntimeError("std::bad_alloc\n----"), r"not enough memory \(std::bad_alloc\)"),
    (RuntimeError("can't start new thread"), r"not enough memory \(can't start new thread\)"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
    (RuntimeError("Unable to initialize backend 'cuda': no"), "JAX_PLATFORMS=.*: Unable to init"),
]  # fmt: skip


def test_libraries_show_errors_only(caplog):
    with flags.refusals():
        logging.getLogger("matplotlib").warning("there is no home")
        logging.getLogger("matplotlib.font_manager").warning("nor any font")
    assert not caplog.records


@pytest.mark.parametrize("error, line", MENDABLE, ids=lambda value: str(value)[:30])
def test_what_the_user_can_mend_is_one_line(capsys, error, line):
    with pytest.raises(SystemExit) as ended, flags.refusals():
        raise error
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and shown.count("\n") == 1
    assert re.search(line, shown)


@pytest.mark.parametrize(
    "bug", [ValueError("x"), FileNotFoundError(errno.ENOENT, "x", "file"), PermissionError("x")]
)
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises(type(bug)), flags.refusals():
        raise bug


def test_ctrl_c_stays_ctrl_c_when_a_library_fails_at_it():
    with pytest.raises(KeyboardInterrupt), flags.refusals():
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("cannot join thread before it is started")


def test_a_terminal_of_ascii_shows_what_it_can(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    with flags.refusals():
        print("Bäume", os.fsdecode(b"\xff"))
    assert buffer.getvalue() == b"B\\xe4ume \\udcff\n"


@pytest.mark.parametrize("platform", ["cuda", "tpu", "abacus"])
def test_a_platform_that_is_not_there_is_one_line(python, tmp_path, platform):
    code = "from nge_jax import main; main.run()"
    command = ["-c", code, "--config=train_digits", f"--workdir={tmp_path / 'w'}"]
    done = python(*command, JAX_PLATFORMS=platform)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: JAX_PLATFORMS={platform}: ")
    assert done.stderr.count("\n") == 1
