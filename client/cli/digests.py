"""Digests as arguments: one in 64 begins with a dash, and is no option all the same."""

from __future__ import annotations

import click

from client.cli.session import Leaf
from shared.canonical import is_digest


class OfDigest(Leaf):
    """A command whose argument is a digest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What begins with a dash and is as long as a digest goes behind `--`."""
        dashed = [one for one in args if one.startswith("-") and is_digest(one)] if "--" not in args else []
        rest = [one for one in args if one not in dashed]
        return super().parse_args(ctx, [*rest, "--", *dashed] if dashed else args)
