"""An image without a container engine: what a Dockerfile copies, built and installed as it says, in a folder.

The packages are those of the image's lock and no others, linked from this environment, which has the same versions. Nothing
of the repository is on the path: neither its folder nor the editable install.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.architecture.source import ROOT

DEPLOY = ROOT / "deploy"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: its word in capitals, its flags (`--from=build`), and the rest."""

    word: str
    flags: dict[str, str]
    text: str

    def words(self) -> list[str]:
        """The rest by words; for the exec form, its members."""
        found: list[str] = json.loads(self.text) if self.text.startswith("[") else self.text.split()
        return found


@dataclass(frozen=True)
class Dockerfile:
    """The stages of one, in their order; arguments before the first stand in `before`."""

    before: list[Instruction]
    stages: list[list[Instruction]] = field(default_factory=list)

    def all(self) -> list[Instruction]:
        """Every instruction."""
        return [*self.before, *(one for stage in self.stages for one in stage)]

    def last(self, word: str) -> Instruction:
        """The one that counts in the image."""
        return [one for one in self.stages[-1] if one.word == word][-1]

    def environment(self) -> dict[str, str]:
        """The variables that the image sets."""
        pairs = [pair for one in self.stages[-1] if one.word == "ENV" for pair in one.words()]
        return dict(pair.split("=", 1) for pair in pairs)


def dockerfile(name: str) -> Dockerfile:
    """`deploy/NAME.Dockerfile`, read."""
    lines = [line for line in (DEPLOY / f"{name}.Dockerfile").read_text().splitlines() if not line.startswith("#")]
    found = Dockerfile([])
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = " ".join(line.split()).partition(" ")
        if not word:
            continue
        flags = {}
        while rest.startswith("--"):
            flag, _, rest = rest.partition(" ")
            key, _, value = flag.partition("=")
            flags[key] = value
        if word == "FROM":
            found.stages.append([])
        (found.stages[-1] if found.stages else found.before).append(Instruction(word, flags, rest))
    return found


def copy(instructions: list[Instruction], root: Path) -> None:
    """Does what their COPY lines do, from the repository into `root`; what comes from another stage is left out."""
    for one in instructions:
        if one.word != "COPY" or "--from" in one.flags:
            continue
        *sources, target = one.words()
        place = root / target.lstrip("/")
        found = [path for source in sources for path in sorted(ROOT.glob(source))]
        assert found, f"COPY {one.text}: there is no such file"
        for path in found:
            if path.is_dir():
                shutil.copytree(path, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            elif target.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)


def locked(name: str) -> list[Requirement]:
    """The packages of `deploy/locks/NAME.txt` that this machine takes."""
    lines = (DEPLOY / "locks" / f"{name}.txt").read_text().splitlines()
    rows = [line.removesuffix("\\").strip() for line in lines if line and line[0] not in "# "]
    found = [Requirement(row) for row in rows]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


class Image:
    """The tree that `deploy/NAME.Dockerfile` makes, in `root`; its programs run by the environment's own Python."""

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.root = name, root
        self.file = dockerfile(name)
        copy(self.file.stages[0], root)
        self.home = root / "opt" / "privyseal"
        run(sys.executable, "-m", "venv", "--without-pip", str(self.home))
        (self.packages,) = (self.home / "lib").glob("python3*/site-packages")
        self._link()
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(root / "wheels"), at=root / "source")
        (wheel,) = (root / "wheels").glob("*.whl")
        uv = str(Path(sys.executable).with_name("uv"))
        run(uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(self.python), str(wheel))
        copy(self.file.stages[1], root)

    @property
    def python(self) -> Path:
        """The image's Python."""
        return self.home / "bin" / "python"

    @property
    def entry(self) -> list[str]:
        """What the image runs."""
        (program,) = self.file.last("ENTRYPOINT").words()
        return [str(self.root / program.lstrip("/"))]

    def environment(self, **changes: str) -> dict[str, str]:
        """What the image sets, its paths within `root`, and nothing from here."""
        variables = {**self.file.environment(), "PATH": f"{self.home / 'bin'}:/usr/bin:/bin", "HOME": str(self.root)}
        return {**variables, **changes}

    def health(self, url: str) -> list[str]:
        """The image's health check, asking `url`."""
        program, *flags, script, _ = json.loads(self.file.last("HEALTHCHECK").text.removeprefix("CMD "))
        return [str(self.root / program.lstrip("/")), *flags, str(self.root / script.lstrip("/")), url]

    def run(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """A program of the image, to its end."""
        return subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=self.root, env=self.environment(**changes)
        )

    def _link(self) -> None:
        for one in locked(self.name):
            try:
                found = distribution(one.name)
            except PackageNotFoundError:
                raise AssertionError(f"{one.name} is locked and not installed here: make setup") from None
            assert one.specifier.contains(found.version, prereleases=True), f"{one} isn't what is installed: make setup"
            for file in found.files or ():
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    place = self.packages / file
                    place.parent.mkdir(parents=True, exist_ok=True)
                    if not place.exists():
                        place.symlink_to(Path(found.locate_file(file)))  # type: ignore[arg-type]


def run(*words: str, at: Path | None = None) -> None:
    """A step of the build. Raises AssertionError with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=at, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
