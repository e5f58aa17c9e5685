"""A model to talk with, and a typist at a terminal of its own.

As a program it is the talk that the typist has before them: python talking.py [BREAK_AFTER]
"""

from __future__ import annotations

import codecs
import os
import pty
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from tamis.cli.talk import talk
from tamis.engines.scripted import ScriptedEngine
from tamis.prompts import PromptTemplate
from tamis.records import Draw, Failure, Request, Sampling

WORDS = " ".join(f"w{number}" for number in range(200))
HOSTILE = "a\x1b[31mred\x1b]0;title\x07 \x9b5n\x85\r\x08\u202edone"
_PATIENCE_S = 60.0


class Model(ScriptedEngine):
    """Says what the question asks for; what is `long` or a late draw of `slow` takes a minute."""

    def __init__(self, break_after: int | None = None) -> None:
        super().__init__(self._script_of, delay=lambda draw: self._lasts[draw.key], break_after=break_after)
        self.asked: list[Request] = []
        self._lasts: dict[str, float] = {}

    def _script_of(self, request: Request, draw: Draw) -> str | Failure:
        self.asked.append(request)
        question = request.prompt.messages[-1].content
        is_late = "slow" in question and draw.index > 1
        self._lasts[draw.key] = 60.0 if is_late or "long" in question else 0.0
        if "fail" in question:
            return Failure("input", "the prompt has 3000 tokens, the model's context holds 2048")
        if "long" in question:
            return WORDS
        if "hostile" in question:
            return HOSTILE
        if "vote" in question:
            return f"so it is \\boxed{{{'887'[draw.index % 3]}}}"
        return f"你问：{question}（{len(request.prompt.messages)}）"


class Typist:
    """Someone who talks at a pseudo-terminal: types, waits for what shall appear, sees all that did."""

    def __init__(self, command: list[str], folder: os.PathLike[str]) -> None:
        self._master, slave = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        # The child opens its terminal anew as the leader of a session, so that it controls it: Ctrl-C becomes SIGINT there.
        program = "import os, signal, sys; os.open(os.ttyname(0), os.O_RDWR); signal.signal(signal.SIGINT, signal.SIG_DFL)"
        program += "; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys; what is pressed while no line is read may be lost, as on any terminal."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str, *, pressing: str = "") -> str:
        """Everything from the last wait on, up to the text and with it; a key is pressed every second until then.

        Ctrl-C just before a program waits for a line is noticed with the next key only.
        """
        deadline = time.monotonic() + _PATIENCE_S
        press_at = time.monotonic() if pressing else deadline
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if time.monotonic() >= press_at:
                self.type(pressing)
                press_at = time.monotonic() + 1.0
            assert self._look(max(0.0, press_at - time.monotonic())) or pressing, f"no {text!r} in {self.seen!r}"
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def end(self) -> int:
        """The exit code, once it has ended."""
        while self._look():
            pass
        return self.process.wait(_PATIENCE_S)

    def _look(self, patience_s: float = _PATIENCE_S) -> bool:
        ready, _, _ = select.select([self._master], [], [], patience_s)
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # the other end is closed
            data = b""
        self.seen += self._decoder.decode(data)
        return bool(data)


if __name__ == "__main__":
    model = Model(break_after=int(sys.argv[1]) if sys.argv[1:] else None)
    sys.exit(talk(model, Sampling(temperature=0.7), PromptTemplate("{problem}")))
