"""The one error a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can mend: what is wrong, why, and what to do.

    The command line prints the three parts and exits with status 2; nobody sees a traceback for it.

    Args:
        what: What is wrong, in one sentence.
        why: What was found, or why it matters.
        fix: What to do about it, with the exact name or command where there is one.
    """

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)
