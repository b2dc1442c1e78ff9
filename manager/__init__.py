"""The manager: moves what it cannot read and cannot order."""
