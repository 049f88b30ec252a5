"""Where the Python, the clone and the weights of a worker are: the recipe, else the environment, else one line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline import hub
from pipeline.device import shared
from pipeline.errors import HoiError
from pipeline.worker_protocol import Answer, MissingEnvironment, Worker


@dataclass(frozen=True)
class Foreign:
    """What a worker needs that is not ours: a Python, a clone of its code, weights.

    Settings `python` and `repo`; without them HOI_<NAME>_PYTHON and HOI_<NAME>_REPO are asked.
    """

    name: str  # of the adapter, and in the hub's list
    script: str  # in pipeline/workers
    setup: str  # the commands that make its environment
    conventions: Mapping[str, str]  # in which frames and units it answers
    options: tuple[str, ...] = ()  # settings that it is given, besides device and seed

    def needs(self, settings: Mapping[str, Any]) -> list[str]:
        """One line for each thing that is missing."""
        lines = []
        absent = {what: why for what in ("python", "repo") if (why := self._absent(what, settings))}
        if absent:
            lines.append(self._line(absent))
        try:
            self._weights(settings)
        except HoiError as error:
            lines.append(str(error))
        if not lines and (missing := self.worker(settings).check()):
            lines.append(f"{self.name}: {missing}; run: {self.setup}")
        return lines

    def worker(self, settings: Mapping[str, Any]) -> Worker:
        """The worker, not started yet. Raises MissingEnvironment or MissingWeights."""
        python, repo, weights = self._python(settings), self._repo(settings), self._weights(settings)
        options = {name: settings[name] for name in ("device", "seed", *self.options) if name in settings}
        options |= {"repo": str(repo), "weights": str(weights)}
        times = {key: float(settings[key]) for key in ("timeout_s", "silence_s") if key in settings}
        return Worker(self.name, python, self.script, self.conventions, options, repo, **times)

    def ask(
        self,
        settings: Mapping[str, Any],
        what: str,
        arrays: Mapping[str, NDArray],
        values: Mapping[str, Any] | None = None,
    ) -> Answer:
        """One question to the one worker that this process has for these settings; it takes room in the VRAM budget.

        Raises WorkerFailed, MissingEnvironment or MissingWeights.
        """
        places = [self._python(settings), str(self._repo(settings)), str(self._weights(settings))]
        key = json.dumps([self.name, *places, hub.digest(self.name), dict(settings)], sort_keys=True)
        vram_gb = 0.0 if settings.get("device") == "cpu" else hub.MODELS[self.name].vram_gb
        return shared(f"worker {key}", lambda: self.worker(settings), vram_gb).ask(what, arrays, values)

    def _given(self, what: str, settings: Mapping[str, Any]) -> str:
        return str(settings.get(what) or os.environ.get(self._variable(what), ""))

    def _variable(self, what: str) -> str:
        return f"HOI_{self.name}_{what}".upper().replace("-", "_")

    def _python(self, settings: Mapping[str, Any]) -> str:
        self._require("python", settings)
        return str(shutil.which(self._given("python", settings)))

    def _repo(self, settings: Mapping[str, Any]) -> Path:
        self._require("repo", settings)
        return Path(self._given("repo", settings)).expanduser().resolve()

    def _require(self, what: str, settings: Mapping[str, Any]) -> None:
        if why := self._absent(what, settings):
            raise MissingEnvironment(self._line({what: why}))

    def _absent(self, what: str, settings: Mapping[str, Any]) -> str | None:
        """Why it cannot be used; None where it can."""
        given = self._given(what, settings)
        if what == "python":
            there, kind = shutil.which(given) is not None, "program"
        else:
            there, kind = Path(given).expanduser().is_dir(), "folder"
        if given:
            return None if there else f"{given} is no {kind}"
        return "it has no Python environment of its own" if what == "python" else "there is no clone of its code"

    def _weights(self, settings: Mapping[str, Any]) -> Path:
        return hub.folder(self.name)

    def _line(self, absent: Mapping[str, str]) -> str:
        variables = " and ".join(self._variable(what) for what in absent)
        settings = " and ".join(f"'{what}'" for what in absent)
        why = " and ".join(absent.values())
        return (
            f"{self.name}: {why}; run: {self.setup}; then set {variables}, or {settings} in its section of the recipe"
        )


class ForeignAdapter:
    """What adapters whose model runs in a worker have in common. A subclass says which worker."""

    name: str
    version: str
    foreign: Foreign

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)

    def needs(self) -> list[str]:
        """One line for each thing that is missing."""
        return self.foreign.needs(self._settings)

    @property
    def weights_digest(self) -> str:
        """sha256 over the weights; '' while they are not here."""
        return hub.digest(self.name)
