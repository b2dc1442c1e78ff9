"""The command line `privyseal`: one file a noun. It prints for people, or JSON and YAML for programs; it decides nothing."""

from __future__ import annotations

from client.cli.main import main

__all__ = ["main"]
