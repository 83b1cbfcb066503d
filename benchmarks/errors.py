"""How a command ends early: bad input is one clear line and exit status 2, Ctrl-C one line and 130."""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Iterable
from typing import NoReturn

STATUS_BAD_INPUT, STATUS_INTERRUPTED = 2, 130


class UserError(Exception):
    """Bad input: the message says what came, what is allowed and what to do."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(STATUS_BAD_INPUT, f"error: {message} (see {self.prog} --help)\n")


def suggestion(name: object, known: Iterable[str], *, also: Iterable[str] = ()) -> str:
    """The end of a message about an unknown name: the closest known one, if any is close, and all of them.

    also: names that may be the closest one but are too many to list.
    """
    names = list(known)
    close = difflib.get_close_matches(str(name), [*names, *also], n=1)
    return f"{f'did you mean {close[0]!r}? ' if close else ''}known: {', '.join(names)}"


def end_on_interrupt(message: str) -> None:
    """From now on Ctrl-C prints one line and ends the process at once.

    Files appear whole or not at all, so nothing has to be unwound but a hidden cursor; as an exception, an
    interrupt could surface inside a library that swallows or reports it.
    """

    def end(_signal: int, _frame: object) -> None:
        cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        os.write(2, f"{cursor}{message}\n".encode())
        os._exit(STATUS_INTERRUPTED)

    signal.signal(signal.SIGINT, end)
