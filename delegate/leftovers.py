"""What a command leaves in its private directory: removed, however deep, large or locked it is.

Promises: at any depth three descriptors and no recursion suffice, so that no command uses up the delegate's; symbolic links
are removed and never followed. Must not be asked to remove what isn't a directory of ours.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from itertools import count
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_OURS = 0o700


def remove(directory: str) -> None:
    """Removes a directory and all that is in it. Raises OSError where something stays."""
    top = os.open(directory, _OPEN)
    try:
        os.fchmod(top, _OURS)
        mark, numbers = secrets.token_hex(8), count()
        due = _emptied(top)
        while due:
            name = due.pop()
            with suppress(OSError):
                inner = os.open(name, _OPEN, dir_fd=top)
                try:
                    for one in _emptied(inner):
                        # Lifted to the top, so that no path becomes too long and no level is held open.
                        lifted = f"{mark}{next(numbers)}"
                        os.rename(one, lifted, src_dir_fd=inner, dst_dir_fd=top)
                        due.append(lifted)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    Path(directory).rmdir()


def _emptied(at: int) -> list[str]:
    """Removes all but directories; gives their names, each made accessible."""
    with os.scandir(at) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        with suppress(OSError):
            if is_directory:
                os.chmod(name, _OURS, dir_fd=at)
            else:
                os.unlink(name, dir_fd=at)
    return [name for name, is_directory in found if is_directory]
