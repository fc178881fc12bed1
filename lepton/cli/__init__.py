"""The command `lepton`: capabilities and features from a shell."""

from lepton.cli.commands import Shell, app, main

__all__ = ["Shell", "app", "main"]
