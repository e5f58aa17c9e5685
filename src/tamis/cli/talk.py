"""`talk`: the interactive mode of `tamis solve`. Questions and commands in, answers out as they are drawn."""

from __future__ import annotations

import difflib
import math
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli.progress import StatusLine
from tamis.cli.terminal import Terminal
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EngineError, TamisError
from tamis.prompts import PromptTemplate
from tamis.records import Sampling
from tamis.store import RowFile
from tamis.view.text import shorten
from tamis.workflows.conversing import Conversation, Reply, Turn

if TYPE_CHECKING:
    from tamis.engines.base import Engine
    from tamis.records import Choice, Pool

_MAX_ANSWERS = 256
_COMMAND = re.compile(r"/([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)  # `/2 of 8 is?` is a question


def talk(engine: Engine, sampling: Sampling, template: PromptTemplate) -> int:
    """Talk until the user ends it; returns the exit code. The caller opens the engine before and closes it after.

    With `sampling.n` above 1 each question is drawn so many times, and the answers vote.
    On a terminal Ctrl-C stops the answer, Ctrl-D ends. From a pipe, one question or command a line, answers alone go to
    stdout, and 3 is the exit code when one of them stayed without an answer or was not understood.

    Raises:
        EngineError: The engine broke as a whole; on a terminal it is said, and what there is can still be saved.
        KeyboardInterrupt: Ctrl-C, where no terminal is talked to.
    """
    with _ended_by_a_signal(), Conversation(engine, sampling, template) as conversation:
        return _Talk(conversation, Terminal(), str(engine.describe().get("model", ""))).run()


@contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    """SIGTERM ends the program here, where Ctrl-C does not."""

    def end(*_: object) -> None:
        raise SystemExit(EXIT_INTERRUPTED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _NotUnderstood(TamisError):
    """A line that cannot be done; the rest goes on."""


@dataclass(frozen=True, slots=True)
class _Command:
    usage: str
    description: str
    run: Callable[[_Talk, str], None]


class _Talk:
    """One talk: what is typed, line by line."""

    def __init__(self, conversation: Conversation, terminal: Terminal, model: str) -> None:
        self._conversation, self._terminal, self._model = conversation, terminal, model
        self._is_over = self._is_incomplete = False
        self._saved: set[Path] = set()

    def run(self) -> int:
        """Take lines until the end."""
        terminal = self._terminal
        if terminal.is_live:
            temperature = self._conversation.sampling.temperature
            terminal.say(f"{self._model}, temperature {temperature:g}. /help lists the commands, Ctrl-D ends.")
        while not self._is_over:
            try:
                line = terminal.read()
                if line is None:
                    break
                self._take(line)
            except KeyboardInterrupt:
                if not terminal.is_live:
                    raise
                terminal.say("\nCtrl-D or /quit ends")
            except _NotUnderstood as error:
                self._complain(error)
            except EngineError as error:
                if not terminal.is_live:
                    raise
                self._complain(error)
        return EXIT_INCOMPLETE if self._is_incomplete and not terminal.is_live else EXIT_DONE

    def _complain(self, error: TamisError | str) -> None:
        self._is_incomplete = True
        self._terminal.say(str(error))

    def _take(self, line: str) -> None:
        if not line.strip():
            return
        try:
            line.encode()
        except UnicodeEncodeError:
            raise _NotUnderstood("this line is not text in UTF-8", "It was not asked") from None
        if (command := _COMMAND.fullmatch(line.rstrip())) is None:
            num = self._conversation.sampling.n
            self._ask_once(line.strip()) if num == 1 else self._ask_often(line.strip(), num, self._conversation.turns)
            return
        name, argument = command[1].lower(), (command[2] or "").strip()
        if name not in _COMMANDS:
            near = difflib.get_close_matches(name, _COMMANDS, n=1, cutoff=0.4)
            raise _NotUnderstood(f"unknown command: /{name}", f"Did you mean /{near[0]}?" if near else "See /help")
        _COMMANDS[name].run(self, argument)

    # --- answers --------------------------------------------------------------------------------------------------

    def _ask_once(self, question: str) -> None:
        reply = self._conversation.ask(question, 1, self._conversation.turns)
        try:
            for piece in reply.pieces():
                self._terminal.write(piece)
        except KeyboardInterrupt:
            reply.stop()
            if not self._terminal.is_live:
                raise
        self._keep(reply)

    def _keep(self, reply: Reply) -> None:
        """Keep what a single answer came to, and say why it ends where it does unless it ends by itself."""
        turn = reply.turn()
        failed = [sample.error.message for sample in reply.samples if sample.error]
        if failed:
            self._complain(f"no answer: {failed[0]}{self._advice(reply)}")
        elif turn.finish_reason == "cut" and not turn.answer:
            self._terminal.say("[stopped before it began: the question is forgotten]")
        else:
            self._conversation.keep(turn, reply.before)
            if turn.finish_reason != "stop":
                why = "stopped" if turn.finish_reason == "cut" else "cut off at the limit of tokens"
                self._terminal.say(f"[{why}]")
        self._terminal.end_line()

    def _advice(self, reply: Reply) -> str:
        num = len(reply.before)
        return f". The model is shown {num} earlier turn{'s' * (num > 1)} too: /reset forgets them" if num else ""

    def _ask_often(self, question: str, num: int, before: tuple[Turn, ...]) -> None:
        reply = self._conversation.ask(question, num, before)
        try:
            with _SamplingLine(reply):
                for _ in reply.pieces():
                    pass
        except KeyboardInterrupt:
            reply.stop()
            if not self._terminal.is_live:
                raise
            self._terminal.say(f"\n[stopped: {len(reply.samples)} of {num} answers were finished]")
        self._vote(reply)

    def _vote(self, reply: Reply) -> None:
        failed = [sample.error.message for sample in reply.samples if sample.error]
        if failed:
            self._complain(f"{len(failed)} failed: {failed[0]}{self._advice(reply)}")
        if len(failed) == len(reply.samples):
            self._terminal.say("[nothing to vote on; the conversation is as it was]")
            return
        pool, choice = self._conversation.vote(reply)
        for line in _votes(pool, choice):
            self._terminal.write(f"{line}\n")
        kept = next(sample for sample in pool.samples if sample.index == choice.index)
        self._terminal.write(f"\n{kept.text}")
        self._terminal.end_line()
        turn = Turn(reply.problem.prompt, reply.asked, kept.text, kept.finish_reason, reply.sampling, choice.votes)
        self._conversation.keep(turn, reply.before)

    # --- commands -------------------------------------------------------------------------------------------------

    def _sample(self, argument: str) -> None:
        number, _, question = argument.partition(" ")
        if not re.fullmatch(r"\d{1,3}", number) or not 2 <= int(number) <= _MAX_ANSWERS:
            raise _NotUnderstood(f"/sample takes a number from 2 to {_MAX_ANSWERS}", "For example /sample 8")
        if not self._conversation.sampling.temperature:
            raise _NotUnderstood("at temperature 0 all answers are the same", "Set one first: /temperature 0.7")
        turns = self._conversation.turns
        if not question.strip():
            if not turns:
                raise _NotUnderstood("nothing was asked yet", "Ask, or write it behind the number: /sample 8 QUESTION")
            question, turns = turns[-1].question, turns[:-1]
        self._ask_often(question.strip(), int(number), turns)

    def _help(self, _: str) -> None:
        width = max(len(command.usage) for command in _COMMANDS.values())
        for command in _COMMANDS.values():
            self._terminal.say(f"  {command.usage:<{width}}  {command.description}")
        self._terminal.say(
            "  All else is a question, a line that begins with a space too. Ctrl-C stops an answer, Ctrl-D ends."
        )

    def _reset(self, _: str) -> None:
        num = len(self._conversation.turns)
        self._conversation.turns = ()
        self._terminal.say(f"[{num} turn{'s' * (num != 1)} forgotten]")

    def _temperature(self, argument: str) -> None:
        sampling = self._conversation.sampling
        if argument:
            try:
                value = float(argument)
            except ValueError:
                value = math.nan
            if not 0 <= value < math.inf:
                raise _NotUnderstood(f"the temperature cannot be {argument}", "It must be 0 (greedy) or more")
            sampling = self._conversation.sampling = replace(sampling, temperature=value)
        self._terminal.say(f"[temperature {sampling.temperature:g}]")

    def _save(self, argument: str) -> None:
        if not argument:
            raise _NotUnderstood("/save needs a file", "For example /save talk.jsonl")
        path = Path(argument).expanduser()
        if path.exists() and path.resolve() not in self._saved:
            raise _NotUnderstood(f"{path} exists already", "Nothing is written over it; name another file")
        rows = self._conversation.to_json()
        again = " again" if path.resolve() in self._saved else ""
        try:
            with RowFile(path) as file:
                for row in rows:
                    file.write(row)
        except (TamisError, OSError) as error:
            raise _NotUnderstood(str(error)) from None
        self._saved.add(path.resolve())
        self._terminal.say(f"[{len(rows)} messages written to {path}{again}]")

    def _quit(self, _: str) -> None:
        self._is_over = True


_COMMANDS: Mapping[str, _Command] = {
    "help": _Command("/help", "this list", _Talk._help),
    "reset": _Command("/reset", "forget the conversation", _Talk._reset),
    "sample": _Command("/sample N [QUESTION]", "draw N answers (to the last question), vote, keep the winner", _Talk._sample),
    "temperature": _Command("/temperature [X]", "set it, or say what it is; 0 is greedy", _Talk._temperature),
    "save": _Command("/save FILE", "write the conversation, one JSON line a message", _Talk._save),
    "quit": _Command("/quit", "end", _Talk._quit),
}


class _SamplingLine(StatusLine):
    """How many of the answers are there."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._reply = reply

    def line(self) -> str:
        """`3/8 answers`."""
        return f"{len(self._reply.samples)}/{self._reply.sampling.n} answers"


def _votes(pool: Pool, choice: Choice) -> Iterator[str]:
    """The answers and how many gave each, most first."""
    for answer, votes in sorted(choice.votes.items(), key=lambda pair: -pair[1]):
        yield f"{votes:>4.0f}  {shorten(answer, 100)}"
    if missing := pool.clusters.count(-1):
        yield f"{missing:>4}  (no answer can be read off{', the first is kept' if not choice.votes else ''})"
