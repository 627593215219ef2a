"""A terminal and a clock that a test holds in its hand."""

import io


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now
