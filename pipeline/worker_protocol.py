"""Models that need a Python of their own: one long-lived process per adapter, spoken to in lines of JSON.

    us      {"hoi": 1, "id": 3, "ask": "hands", "folder": "/tmp/...", "arrays": ["image", "boxes"], "values": {...}}
    worker  {"hoi": 1, "hello": "hamer", "weights": "<digest>", "conventions": {"axes": "opencv", ...}}   at once
            {"hoi": 1, "beat": 12.0}                                                        while it works, every 2 s
            {"hoi": 1, "id": 3, "answer": {...}, "arrays": ["betas", ...]}       or {"hoi": 1, "id": 3, "error": "..."}

Arrays are `<folder>/ask_<name>.npy` and `<folder>/answer_<name>.npy`. Models are loaded at the first question and kept.
A worker ends when its input ends. What it prints elsewhere goes to its error output, whose last line tells why it died.

Nothing a worker says is believed unchecked: it must say hello with our protocol version and with the conventions the
adapter expects, answer in time, and every array must have the shape asked for and finite numbers.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import HoiError, PipelineError

log = logging.getLogger(__name__)

PROTOCOL = 1
SCRIPTS = Path(__file__).parent / "workers"
HELLO_S = 60.0  # until a worker has said hello; it loads nothing before
LINE_BYTES = 1 << 20  # a longer line is no message
NOISE_LINES = 1000  # that are no messages; a worker that prints more has no idea of the protocol
END_S = 5.0  # given to a worker to end by itself
MESSAGE = 300  # characters of a worker's own words that are passed on
OURS_ALONE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TRIPO_API_KEY")  # not for another Python
_ARRAY = re.compile(r"[a-z][a-z0-9_]*")


class MissingEnvironment(HoiError):
    """There is no Python for a worker; the message names the commands that make one."""


class WorkerFailed(PipelineError):
    """A worker died, was too slow, or answered what cannot be used; one line."""


@dataclass(frozen=True)
class Answer:
    """What a worker answered to one question."""

    name: str
    values: dict[str, Any]
    arrays: dict[str, NDArray]

    def array(self, name: str, *shape: int | None, optional: bool = False) -> NDArray | None:
        """An array of numbers, checked; None only when it is `optional`. `shape` has None where any size will do."""
        if name not in self.arrays:
            if optional:
                return None
            raise WorkerFailed(f"{self.name}: its worker's answer has no '{name}'")
        found = self.arrays[name]
        if found.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, found.shape, strict=True)):
            expected = " x ".join("n" if n is None else str(n) for n in shape)
            raise WorkerFailed(
                f"{self.name}: its worker answered '{name}' as {' x '.join(map(str, found.shape))}, not {expected}"
            )
        if found.dtype.kind not in "biuf":
            raise WorkerFailed(f"{self.name}: its worker answered '{name}' as {found.dtype}, which is no number")
        if not np.isfinite(found).all():
            raise WorkerFailed(f"{self.name}: its worker answered numbers that are not finite in '{name}'")
        return found

    def required(self, name: str, *shape: int | None) -> NDArray:
        """`array`, which is there."""
        found = self.array(name, *shape)
        assert found is not None
        return found


class Worker:
    """One worker: started when it is first needed, started anew after it died, ended with this process.

    python: of the foreign environment. script: in `workers/`, or any path. conventions: what the worker must declare.
    options: reach the script as JSON. cwd: where it runs (a clone whose code reads relative paths).
    """

    def __init__(
        self,
        name: str,
        python: str,
        script: str | Path,
        conventions: Mapping[str, str],
        options: Mapping[str, Any] | None = None,
        cwd: Path | None = None,
        timeout_s: float = 900.0,
        silence_s: float = 120.0,
    ) -> None:
        self.name, self.timeout_s, self.silence_s = name, timeout_s, silence_s
        self._conventions, self._cwd = dict(conventions), cwd
        self._command = [python, "-u", str(SCRIPTS / script), json.dumps(dict(options or {}))]
        self._process: _Process | None = None
        self._asked = 0
        self._deaths = 0  # in a row
        self._lock = threading.Lock()
        _alive.add(self)

    @property
    def weights_digest(self) -> str:
        """What the worker says of the weights it will use; '' when it needs none."""
        with self._lock:
            return self._started().weights

    def ask(self, what: str, arrays: Mapping[str, NDArray], values: Mapping[str, Any] | None = None) -> Answer:
        """One question, one answer. Raises WorkerFailed, or MissingEnvironment when there is no such Python."""
        with self._lock:
            process = self._started()
            self._asked += 1
            folder = Path(tempfile.mkdtemp(prefix=f"hoi-{self.name}-"))
            try:
                for name, array in arrays.items():
                    np.save(folder / f"ask_{name}.npy", array, allow_pickle=False)
                question = {"id": self._asked, "ask": what, "folder": str(folder)}
                process.send(question | {"arrays": [*arrays], "values": dict(values or {})})
                reply = process.reply(self._asked, self.timeout_s, self.silence_s)
                if "error" in reply:
                    self._deaths = 0
                    raise WorkerFailed(f"{self.name}: {_one_line(reply['error'])}")
                answer = Answer(self.name, self._values(reply), self._arrays(folder, reply))
            except _Died as error:
                self._process = None
                self._deaths += 1
                raise WorkerFailed(f"{self.name}: {error}") from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            self._deaths = 0
            return answer

    def check(self) -> str:
        """One line saying what its environment lacks; '' when nothing does. Loads nothing, takes a moment."""
        command = [*self._command[:-1], "--check", self._command[-1]]
        try:
            done = subprocess.run(command, cwd=self._cwd, env=_environment(), capture_output=True, timeout=HELLO_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"cannot run {command[0]} ({_one_line(error)})"
        messages = [message for line in done.stdout.splitlines() if (message := _message(line))]
        if messages:
            return _one_line(messages[0].get("error", ""))
        errors = done.stderr.decode(errors="replace").strip().splitlines()
        return _one_line(errors[-1] if errors else f"its worker ended (exit status {done.returncode})")

    def close(self) -> None:
        """End the worker; the next question starts it again."""
        with self._lock:
            if self._process is not None:
                self._process.end()
                self._process = None

    def _started(self) -> _Process:
        if self._process is not None and self._process.running:
            return self._process
        if self._process is not None:  # between two questions
            self._deaths += 1
            log.warning("%s: %s; it is started again", self.name, self._process.last_words())
            self._process = None
        if self._deaths > 1:
            raise WorkerFailed(f"{self.name}: its worker died twice in a row and is not started again")
        try:
            process = _Process(self._command, self._cwd)
            hello = process.hello(self.name)
        except _Died as error:
            self._deaths += 1
            raise WorkerFailed(f"{self.name}: {error}") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise MissingEnvironment(f"{self.name}: cannot run {self._command[0]} ({reason})") from error
        for key, expected in self._conventions.items():
            declared = hello["conventions"].get(key)
            if declared != expected:
                process.end()
                said = "does not declare" if declared is None else f"declares {key} = '{declared}', not"
                raise WorkerFailed(
                    f"{self.name}: its worker {said} {key + ' = ' if declared is None else ''}'{expected}'; "
                    "use the script that belongs to this version of hoi-annotate"
                )
        self._process = process
        return process

    def _values(self, reply: dict[str, Any]) -> dict[str, Any]:
        values = reply["answer"]
        if not isinstance(values, dict):
            raise WorkerFailed(f"{self.name}: its worker's answer is no table of values")
        return values

    def _arrays(self, folder: Path, reply: dict[str, Any]) -> dict[str, NDArray]:
        found = {}
        for name in reply.get("arrays") or ():
            if not isinstance(name, str) or not _ARRAY.fullmatch(name):
                raise WorkerFailed(f"{self.name}: its worker answered an array with an impossible name")
            try:
                found[name] = np.load(folder / f"answer_{name}.npy", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise WorkerFailed(f"{self.name}: its worker's '{name}' cannot be read ({error})") from error
        return found


_alive: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def close_all() -> None:
    """End every worker of this process, whatever it is doing."""
    for worker in list(_alive):
        if worker._process is not None:
            worker._process.end()


class _Died(Exception):
    """The process is gone, or was killed; says why."""


class _Process:
    """The process and the two threads that read what it writes."""

    def __init__(self, command: list[str], cwd: Path | None) -> None:
        self.weights = ""
        self._popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that it can be killed with all that it started
        )
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=50)
        self._noise = 0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def _read(self) -> None:
        """Messages to the queue; what is no message is counted."""
        assert self._popen.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            while line := self._popen.stdout.readline(LINE_BYTES):
                message = _message(line)
                if message is not None:
                    self._messages.put(message)
                    continue
                self._noise += 1
                if self._noise > NOISE_LINES:
                    break
        self._messages.put(None)

    def _listen(self) -> None:
        assert self._popen.stderr is not None
        with contextlib.suppress(ValueError, OSError):
            while line := self._popen.stderr.readline(LINE_BYTES):
                for part in re.split(r"[\r\n]+", line.decode(errors="replace")):
                    if part.strip():
                        self._errors.append(part.strip())
                        log.debug("%s", part.strip())

    def send(self, message: dict[str, Any]) -> None:
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps({"hoi": PROTOCOL} | message).encode() + b"\n")
            self._popen.stdin.flush()
        except OSError as error:
            raise _Died(self._gone()) from error

    def hello(self, name: str) -> dict[str, Any]:
        """The worker's first message, checked but for its conventions."""
        message = self._next(HELLO_S, HELLO_S)
        if "hello" not in message and "error" in message:
            raise self._kill(_one_line(message["error"]))
        if message.get("hello") != name or not isinstance(message.get("conventions"), dict):
            raise self._kill("its worker did not say hello as the protocol has it")
        self.weights = str(message.get("weights", ""))
        return message

    def reply(self, asked: int, timeout_s: float, silence_s: float) -> dict[str, Any]:
        """The answer to question number `asked`; beats only show that the worker lives."""
        until = time.monotonic() + timeout_s
        while True:
            message = self._next(until - time.monotonic(), silence_s, timeout_s)
            if "beat" in message:
                continue
            if message.get("id") != asked or not ("answer" in message or "error" in message):
                raise self._kill("its worker answered another question")
            return message

    def _next(self, left_s: float, silence_s: float, timeout_s: float = HELLO_S) -> dict[str, Any]:
        try:
            message = self._messages.get(timeout=max(0.0, min(left_s, silence_s)))
        except queue.Empty:
            reason = f"said nothing for {silence_s:g} s" if silence_s < left_s else f"took more than {timeout_s:g} s"
            raise self._kill(f"its worker {reason} and was stopped") from None
        if message is None and self._noise > NOISE_LINES:
            raise self._kill("its worker prints what are no messages and was stopped")
        if message is None:
            raise self._kill(self._gone())
        if message.get("hoi") != PROTOCOL:
            raise self._kill(f"its worker speaks protocol {message.get('hoi')}, not {PROTOCOL}")
        return message

    def _gone(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(END_S)
        return self.last_words()

    def last_words(self) -> str:
        """How the process ended, with the last line of its error output."""
        self._threads[1].join(END_S)
        code = self._popen.poll()
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        last = f": {_one_line(self._errors[-1])}" if self._errors else ""
        return f"its worker ended ({how}){last}"

    def _kill(self, reason: str) -> _Died:
        self.kill()
        return _Died(reason)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._finish()

    def end(self) -> None:
        """Its input ends, which is how it knows; it is killed when it does not mind."""
        with contextlib.suppress(OSError):
            if self._popen.stdin is not None:
                self._popen.stdin.close()
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._finish()

    def _finish(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(END_S)
        for thread in self._threads:
            thread.join(END_S)
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OURS_ALONE}


def _message(line: bytes) -> dict[str, Any] | None:
    """A line as a message of ours; None for anything else a library may print."""
    if not line.startswith(b"{"):
        return None
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "hoi" in message else None


def _one_line(text: Any) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= MESSAGE else line[: MESSAGE - 1] + "…"
