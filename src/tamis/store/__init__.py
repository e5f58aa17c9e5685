"""The run folder: what was drawn, kept so that nothing finished is ever lost and nothing is ever doubled.

    runs/<name>/
      run.json        the configuration that shapes the samples, and the facts of the run; written once
      samples.jsonl   the journal: append-only, one line a finished or failed sample, key first (`journal`)
      tokens.bin      the statistics of their tokens: append-only, written before the line that points there (`tokens`)
      .lock           the one writer (`lock`)
      scores/         what was learnt of the samples afterwards: readings and verdicts (`scores`)
      ...             derived files, rewritten at will, each through a temporary file and a rename (`files`)

The rules of resuming, by content:

* A sample is finished when its whole line is in the journal, without an error, and its statistics are there. All else is
  owed again: failed samples, a torn last line, a line or a slice of statistics that cannot be read (with a warning).
* The last line of a key is the one that counts: a success supersedes the failure before it. No reader sees both.
* A folder belongs to one configuration, from its first line on. Another one is refused, the difference shown, or goes into a
  fork beside it.
"""

from tamis.store.configuration import is_unused, read_run_file
from tamis.store.folder import RunFolder
from tamis.store.rows import RowFile
from tamis.store.scores import READINGS, ScoreFolder, find_asked, verdict_keys
from tamis.store.verdicts import VerdictFolder

__all__ = [
    "READINGS",
    "RowFile",
    "RunFolder",
    "ScoreFolder",
    "VerdictFolder",
    "find_asked",
    "is_unused",
    "read_run_file",
    "verdict_keys",
]
