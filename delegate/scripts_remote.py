"""Scripts on a target host: a program of `delegate.scripts`, run over SSH by one login.

Promises: as `delegate.scripts_local` where the host allows it: values go in by standard input, what was printed goes to the
delegate's log alone, masked. The host's own limits are the host's; a time limit ends the program there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from delegate.mask_patterns import MaskPatterns
from delegate.scripts import LARGEST_OUTPUT_BYTES, Absence, Program, check_end, handed_over, harvest
from delegate.ssh import SshTarget
from delegate.tails import Tail
from shared.crypto.plaintext import Plaintext
from shared.documents.secret import LARGEST_VALUE_BYTES
from shared.errors import Malformed, PrivySealError


class RemoteScripts:
    """Runs scripts at one host."""

    def __init__(self, target: SshTarget, mask_patterns: MaskPatterns | None = None) -> None:
        self._target = target
        self._mask_patterns = mask_patterns

    async def run(
        self,
        program: Program,
        known: Sequence[Plaintext],
        seconds: float,
        directory: str = "",
        *,
        is_read: bool = True,
        about: Mapping[str, str] | None = None,
    ) -> Plaintext | Absence:
        """As `LocalScripts.run`; besides, what `SshTarget.run` raises."""
        ran = await self._target.run(program, directory=directory, seconds=seconds, most=LARGEST_OUTPUT_BYTES)
        tail = Tail(self._mask_patterns)
        tail.feed(ran.stderr.reveal())
        try:
            if ran.truncated:
                raise Malformed(
                    "value_too_long",
                    f"the script's value is longer than {LARGEST_VALUE_BYTES} bytes",
                    "have it print the value alone into the variable secret",
                )
            check_end(ran.exit, ran.signal, ran.reason)
            found = harvest(ran.stdout)
        except PrivySealError as error:
            await tail.tell(error.detail, known, handed_over(ran.stdout), about)
            raise
        if is_read and isinstance(found, Absence):
            await tail.tell(found.value, known, (), about)
        return found
