from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.engines.scripted import random_chain, random_stats
from tamis.errors import EXIT_FAILED, RunFolderError
from tamis.records import EmbeddingChain, Failure, Image, Sample, Sampling
from tamis.store import RunFolder
from tamis.store.tokens import slice_bytes

CONFIG = {"model": "m", "temperature": 0.7, "stop": ("a", "b"), "prompt": {"template": "Q: {problem}", "raw": False}}
SAMPLING = Sampling(temperature=0.7)


def make(number: int, text: str | None = None, *, error: str = "", stats: bool = True, chain: bool | None = None) -> Sample:
    """A sample; every other one with statistics has a chain too."""
    text = f"第{number}个答案 answer {number}\n" if text is None else text
    return Sample(
        key=f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
        problem_id=f"p{number}",
        index=0,
        seed=number,
        sampling=SAMPLING,
        parts=(text,) if text else (),
        finish_reason="error" if error else "stop",
        completion_tokens=len(text),
        error=Failure("engine", error) if error else None,
        stats=random_stats(text, number) if stats and not error else None,
        chain=random_chain(text, number) if (stats and number % 2 if chain is None else chain) and text and not error else None,
    )


def same(left: Sample | None, right: Sample | None) -> bool:
    if left is None or right is None:
        return left is right
    if (left.stats is None) != (right.stats is None):
        return False
    if left.stats and right.stats:
        for name in ("values", "ids", "starts"):
            np.testing.assert_array_equal(getattr(left.stats, name), getattr(right.stats, name))
            assert getattr(left.stats, name).dtype == getattr(right.stats, name).dtype
        assert left.stats.vocab_size == right.stats.vocab_size
    if (left.chain is None) != (right.chain is None):
        return False
    if left.chain and right.chain:
        np.testing.assert_array_equal(left.chain.values, right.chain.values)
        assert left.chain.values.dtype == right.chain.values.dtype
    return left.to_json() == right.to_json()


def lines(path: Path) -> list[bytes]:
    return (path / "samples.jsonl").read_bytes().splitlines(keepends=True)


# --- samples come back ------------------------------------------------------------------------------------------------


def test_what_is_appended_comes_back(tmp_path):
    samples = [
        make(1),
        make(2, ""),
        make(3, stats=False),
        make(4, "half a pair: \ud800 and '\"\\ \x00 \u2028 }\n{"),
        replace(make(5, stats=False), parts=("see", Image("images/5.png"), "图")),
        make(6, error="out of memory"),
        replace(make(7), finish_reason="length"),
        make(8, stats=False, chain=True),
        replace(make(9), chain=EmbeddingChain(np.array([[1, np.nan], [np.nan, np.nan]], np.float32))),
    ]
    with RunFolder.open(tmp_path / "run", CONFIG, facts={"python": "3"}) as run:
        for sample in samples:
            run.append(sample)
        assert all(same(run.load(s.key), s) for s in samples)
    for reopened in (RunFolder.open(tmp_path / "run", CONFIG), RunFolder.read(tmp_path / "run")):
        with reopened as run:
            assert [s.key in run for s in samples] == [True] * 5 + [False] + [True] * 3
            assert run.num_finished == 8
            assert all(same(run.load(s.key), s) for s in samples)
            assert all(same(a, b) for a, b in zip(run.samples(), samples, strict=True))
            assert run.load("00000000000000ff") is None
            assert "00000000000000ff" not in run
            assert run.facts == {"python": "3"}
            assert run.warnings == []


def test_a_line_begins_with_its_key(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as run:
        for sample in (make(1), make(2, stats=False), make(3, error="x")):
            run.append(sample)
    for line, number in zip(lines(tmp_path), (1, 2, 3), strict=True):
        assert line.startswith(f'{{"key":"{make(number).key}"'.encode())
        assert json.loads(line)["id"] == f"p{number}"


def test_a_success_supersedes_the_failure_before_it(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as run:
        run.append(make(1, error="busy"))
        run.append(make(2))
        assert make(1).key not in run
        run.append(make(1))
        assert make(1).key in run
    with RunFolder.read(tmp_path) as run:
        assert [(s.problem_id, s.error) for s in run.samples()] == [("p2", None), ("p1", None)]


def test_statistics_can_be_left_out(tmp_path):
    with RunFolder.open(tmp_path, CONFIG, token_stats="none") as run:
        run.append(make(1))
    assert not (tmp_path / "tokens.bin").exists()
    with RunFolder.open(tmp_path, CONFIG) as run:
        run.append(make(2))
        assert [s.stats is None for s in run.samples()] == [True, False]
    with RunFolder.read(tmp_path, token_stats="none") as run:
        assert [s.stats for s in run.samples()] == [None, None]


def test_statistics_of_wrong_shape_are_refused_before_anything_is_written(tmp_path):
    sample = make(1)
    assert sample.stats
    with RunFolder.open(tmp_path, CONFIG) as run:
        with pytest.raises(ValueError, match="shapes"):
            run.append(replace(sample, stats=replace(sample.stats, ids=sample.stats.ids[1:])))
        assert (tmp_path / "tokens.bin").stat().st_size == 0
        assert lines(tmp_path) == []


def test_a_reader_sees_a_run_that_is_being_written(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as run:
        run.append(make(1))
        with (tmp_path / "samples.jsonl").open("ab") as file:
            file.write(b'{"key":"00')  # half a line, as a reader may catch it
        with RunFolder.read(tmp_path) as reader:
            assert [s.problem_id for s in reader.samples()] == ["p1"]
            assert reader.warnings == []
        assert lines(tmp_path)[-1] == b'{"key":"00'  # left as it was


# --- damage -----------------------------------------------------------------------------------------------------------


def build(path: Path, count: int = 6) -> list[Sample]:
    samples = [make(number) for number in range(1, count + 1)]
    with RunFolder.open(path, CONFIG) as run:
        for sample in samples:
            run.append(sample)
    return samples


def missing(run: RunFolder, samples: list[Sample]) -> list[str]:
    """The problems whose samples are owed; all others must be intact."""
    assert all(same(run.load(s.key), s) for s in samples if s.key in run)
    assert {s.key for s in run.samples() if not s.error} == {s.key for s in samples if s.key in run}
    return [s.problem_id for s in samples if s.key not in run]


def test_journal_cut_at_every_byte_of_its_last_three_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a killed process has no need of it, and a thousand take long
    samples = build(tmp_path)
    whole = (tmp_path / "samples.jsonl").read_bytes()
    tokens = (tmp_path / "tokens.bin").read_bytes()
    for cut in range(sum(map(len, lines(tmp_path)[:3])), len(whole) + 1):
        (tmp_path / "samples.jsonl").write_bytes(whole[:cut])
        (tmp_path / "tokens.bin").write_bytes(tokens)
        num_whole = whole[:cut].count(b"\n")
        with RunFolder.open(tmp_path, CONFIG) as run:
            assert missing(run, samples) == [s.problem_id for s in samples[num_whole:]]
            for sample in samples[num_whole:]:
                run.append(sample)
            assert run.warnings == []
        assert (tmp_path / "samples.jsonl").read_bytes() == whole  # the torn line is gone, and so are its statistics
        assert (tmp_path / "tokens.bin").read_bytes() == tokens


def test_statistics_cut_at_every_few_bytes(tmp_path):
    samples = build(tmp_path)
    journal, tokens = (tmp_path / "samples.jsonl").read_bytes(), (tmp_path / "tokens.bin").read_bytes()
    ends = [json.loads(line)["stats"] for line in lines(tmp_path)]
    for cut in range(0, len(tokens), 41):
        (tmp_path / "samples.jsonl").write_bytes(journal)
        (tmp_path / "tokens.bin").write_bytes(tokens[:cut])
        lost = [s for s, ref in zip(samples, ends, strict=True) if ref["offset"] + slice_bytes(ref) > cut]
        with RunFolder.read(tmp_path) as reader:
            assert missing(reader, samples) == [s.problem_id for s in lost]
        with RunFolder.open(tmp_path, CONFIG) as run:
            assert missing(run, samples) == [s.problem_id for s in lost]
            assert len(run.warnings) == 1
            assert f"{len(lost)} samples have lost their statistics; owed again" in run.warnings[0]
            for sample in lost:
                run.append(sample)
            assert missing(run, samples) == []
        with RunFolder.open(tmp_path, CONFIG) as run:
            assert missing(run, samples) == []
            assert run.warnings == []


def test_statistics_that_take_the_place_of_lost_ones_are_not_theirs(tmp_path):
    samples = build(tmp_path)
    start = json.loads(lines(tmp_path)[-1])["stats"]["offset"]
    os.truncate(tmp_path / "tokens.bin", start + 10)
    with RunFolder.open(tmp_path, CONFIG) as run:
        run.append(make(99, "x" * 100))  # where those of p6 were; then the process dies before p6 is drawn again
    with RunFolder.open(tmp_path, CONFIG) as run:
        assert missing(run, [*samples, make(99, "x" * 100)]) == ["p6"]
        assert run.warnings == []


def test_without_statistics_a_sample_needs_no_tokens_file(tmp_path):
    samples = build(tmp_path)
    (tmp_path / "tokens.bin").unlink()
    with RunFolder.open(tmp_path, CONFIG, token_stats="none") as run:
        assert [s.problem_id for s in run.samples()] == [s.problem_id for s in samples]
        assert run.warnings == []


@pytest.mark.parametrize("number", [3, 6])
@pytest.mark.parametrize(
    "junk", [b"not json\n", b"\n", b'{"key":"0123"}\n', b'{"key":"zzzzzzzzzzzzzzzz"}\n', b"\x00\x00\n", b"\xff{}\n"]
)
def test_a_malformed_line_is_named_and_owed_again(tmp_path, junk, number):
    samples = build(tmp_path)
    damaged = lines(tmp_path)
    damaged[number - 1] = junk
    (tmp_path / "samples.jsonl").write_bytes(b"".join(damaged))
    size = (tmp_path / "tokens.bin").stat().st_size
    with RunFolder.open(tmp_path, CONFIG) as run:
        assert missing(run, samples) == [f"p{number}"]
        assert run.warnings == [f"{tmp_path}: samples.jsonl: 1 lines cannot be read (line {number}); owed again"]
        assert (tmp_path / "tokens.bin").stat().st_size == size  # what the line may point to is not cut off
        run.append(samples[number - 1])
        assert missing(run, samples) == []


def test_a_line_damaged_inside_is_owed_again_once_it_is_read(tmp_path):
    samples = build(tmp_path)
    damaged = lines(tmp_path)
    damaged[4] = damaged[4].replace(b'"index":0', b'"index":,')
    (tmp_path / "samples.jsonl").write_bytes(b"".join(damaged))
    with RunFolder.open(tmp_path, CONFIG) as run:
        assert run.load(samples[4].key) is None
        assert missing(run, samples) == ["p5"]
        assert run.warnings == [f"{tmp_path}: samples.jsonl, key {samples[4].key}: it cannot be read; owed again"]
    with RunFolder.open(tmp_path, CONFIG) as run:  # and the next writer knows without reading it
        assert missing(run, samples) == ["p5"]
        run.append(samples[4])
        assert missing(run, samples) == []


def test_statistics_that_fail_their_checksum_are_owed_again(tmp_path):
    samples = build(tmp_path)
    data = bytearray((tmp_path / "tokens.bin").read_bytes())
    data[50] ^= 1
    (tmp_path / "tokens.bin").write_bytes(data)
    with RunFolder.read(tmp_path) as run:
        assert run.load(samples[0].key) is None
        assert missing(run, samples) == ["p1"]
        assert "do not match their checksum; owed again" in run.warnings[0]
        assert len(run.warnings) == 1
    with RunFolder.open(tmp_path, CONFIG) as run:
        assert len(list(run.samples())) == 5
    with RunFolder.open(tmp_path, CONFIG) as run:
        assert missing(run, samples) == ["p1"]


def test_a_full_disk_leaves_whole_lines(tmp_path):
    """In a process of its own, whose files may for a while not grow beyond 20 kB."""
    script = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from test_run_folder import CONFIG, make
from tamis.errors import RunFolderError
from tamis.store import RunFolder
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
with RunFolder.open({str(tmp_path / "run")!r}, CONFIG) as run:
    for number in range(1, 100):
        try:
            run.append(make(number))
        except RunFolderError as error:
            print(number, error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    number, message = result.stdout.split(maxsplit=1)
    assert message.startswith(f"cannot write {tmp_path / 'run' / 'tokens.bin'}: File too large. What is finished is kept")
    samples = [make(n) for n in range(1, 100)]
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        assert missing(run, samples) == [f"p{number}"]
        assert run.warnings == []


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.text(max_size=20)), max_size=30), st.data())
def test_the_last_line_of_a_key_counts_wherever_the_process_is_killed(tmp_path_factory, writes, data):
    path = tmp_path_factory.mktemp("run")
    expected: dict[str, Sample] = {}
    position = 0
    while position < len(writes):
        stop = data.draw(st.integers(position + 1, len(writes)))
        with RunFolder.open(path, CONFIG) as run:
            for number, failed, text in writes[position:stop]:
                sample = make(number, text, error="busy" if failed else "")
                run.append(sample)
                expected[sample.key] = sample
        torn = data.draw(st.binary(max_size=10)).replace(b"\n", b"")
        with (path / "samples.jsonl").open("ab") as file:
            file.write(torn)
        with (path / "tokens.bin").open("ab") as file:
            file.write(torn)
        position = stop
    if writes:
        with RunFolder.open(path, CONFIG) as run:
            assert {s.key: s.text for s in run.samples()} == {key: s.text for key, s in expected.items()}
            assert all(same(run.load(key), sample) for key, sample in expected.items())
            assert all((key in run) == (not sample.error) for key, sample in expected.items())


# --- one configuration ------------------------------------------------------------------------------------------------


def test_another_configuration_is_refused_and_the_difference_shown(tmp_path):
    build(tmp_path / "run")
    other = {**CONFIG, "temperature": 0.1, "prompt": {"template": "问：{problem}", "raw": False}, "min_p": 0.05}
    del other["stop"]
    with pytest.raises(RunFolderError) as caught:
        RunFolder.open(tmp_path / "run", other)
    assert caught.value.message == (
        f"{tmp_path / 'run'} holds samples of another configuration: temperature: 0.7 -> 0.1, "
        'stop: ["a","b"] -> (not set), prompt.template: Q: {problem} -> 问：{problem}, min_p: (not set) -> 0.05'
    )
    assert "--fork" in caught.value.advice
    assert "another folder" in caught.value.advice
    assert caught.value.exit_code == EXIT_FAILED
    RunFolder.open(tmp_path / "run", CONFIG).close()  # no lock is left behind


def test_long_values_are_shown_where_they_part(tmp_path):
    RunFolder.open(tmp_path, {"template": "x" * 500 + "\nA " + "y" * 500}).close()
    (tmp_path / "samples.jsonl").write_bytes(b"{}\n")
    with pytest.raises(RunFolderError) as caught:
        RunFolder.open(tmp_path, {"template": "x" * 500 + "\nB " + "y" * 500})
    assert "\n" not in caught.value.message
    assert "xxx\\nA yyy" in caught.value.message
    assert "xxx\\nB yyy" in caught.value.message
    assert len(caught.value.message) < 400


def test_a_folder_in_which_nothing_was_kept_is_anybodys(tmp_path):
    RunFolder.open(tmp_path, {"model": "tpyo"}).close()
    build(tmp_path)
    assert RunFolder.read(tmp_path).num_finished == 6
    with pytest.raises(RunFolderError):
        RunFolder.open(tmp_path, {"model": "tpyo"})


def test_a_fork_begins_beside_and_is_resumed_by_the_same_command(tmp_path):
    build(tmp_path / "run")
    other, third = {**CONFIG, "temperature": 0.1}, {**CONFIG, "temperature": 0.2}
    for config, name in ((other, "run-2"), (third, "run-3"), (other, "run-2"), (CONFIG, "run")):
        with RunFolder.open(tmp_path / "run", config, fork=True) as run:
            assert run.path == tmp_path / name
            assert run.forked_from == (None if name == "run" else "run")
            assert run.config["temperature"] == config["temperature"]
            assert run.num_finished == (6 if name == "run" else 0)
    with RunFolder.open(tmp_path / "new", CONFIG, fork=True) as run:
        assert (run.path, run.forked_from) == (tmp_path / "new", None)


def test_a_fork_does_not_need_the_original_to_be_free(tmp_path):
    with (
        RunFolder.open(tmp_path / "run", CONFIG),
        RunFolder.open(tmp_path / "run", {**CONFIG, "temperature": 0.1}, fork=True) as fork,
    ):
        assert fork.path.name == "run-2"


def test_run_json_is_written_once(tmp_path):
    RunFolder.open(tmp_path, CONFIG, facts={"versions": {"tamis": "1"}}).close()
    first = (tmp_path / "run.json").read_bytes()
    RunFolder.open(tmp_path, CONFIG, facts={"versions": {"tamis": "2"}}).close()
    assert (tmp_path / "run.json").read_bytes() == first
    record = json.loads(first)
    assert record["config"] == json.loads(json.dumps(CONFIG))
    assert record["facts"] == {"versions": {"tamis": "1"}}
    assert set(record) == {"version", "config", "facts", "created"}


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"is not empty and is not a run folder: it has no run\.json"):
        RunFolder.open(tmp_path, CONFIG)
    with pytest.raises(RunFolderError, match=r"cannot write .*notes\.txt"):
        RunFolder.open(tmp_path / "notes.txt", CONFIG)
    with pytest.raises(RunFolderError, match="is not a run folder"):
        RunFolder.read(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    for content, message in (
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"version":99,"config":{}}', "newer version"),
    ):
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(content)
        for use in (lambda at: RunFolder.open(at, CONFIG), RunFolder.read):
            with pytest.raises(RunFolderError, match=message):
                use(folder)


def test_a_folder_left_before_its_run_json_is_begun_anew(tmp_path):
    (tmp_path / ".lock").write_text("123\n")
    (tmp_path / ".run.json.123.tmp").write_text('{"ver')
    with RunFolder.open(tmp_path, CONFIG) as run:
        assert run.num_finished == 0


# --- one writer -------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_with_one_line(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        run.append(make(1))
        with pytest.raises(RunFolderError) as caught:
            RunFolder.open(tmp_path / "run", CONFIG)
        assert caught.value.message == f"{tmp_path / 'run'} is being written by process {os.getpid()}"
        assert "\n" not in str(caught.value)
        with RunFolder.read(tmp_path / "run") as reader:
            assert reader.num_finished == 1
    RunFolder.open(tmp_path / "run", CONFIG).close()


HOLDER = """
import os, sys, time
from tamis.store import RunFolder
with RunFolder.open(sys.argv[1], {}):
    if sys.argv[2] == "0" or os.fork() == 0:
        print("ready", flush=True)
    time.sleep(20)
"""


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_lock_dies_with_its_process(tmp_path, num_workers):
    """Even where a forked worker lives on."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path), str(num_workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        with pytest.raises(RunFolderError, match=f"is being written by process {holder.pid}"):
            RunFolder.open(tmp_path, {})
        holder.kill()
        holder.wait()
        RunFolder.open(tmp_path, {}).close()
        if num_workers:
            os.killpg(holder.pid, signal.SIGKILL)


# --- derived files ----------------------------------------------------------------------------------------------------


def test_derived_files_are_replaced_whole(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as run:
        run.write_json("summary.json", {"名": [1, None]})
        run.write_jsonl("views/rows.jsonl", ({"a": number} for number in range(3)))
        assert json.loads((tmp_path / "summary.json").read_bytes()) == {"名": [1, None]}
        assert (tmp_path / "views" / "rows.jsonl").read_bytes() == b'{"a":0}\n{"a":1}\n{"a":2}\n'

        def broken():
            yield {"a": 9}
            raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            run.write_jsonl("views/rows.jsonl", broken())
        assert (tmp_path / "views" / "rows.jsonl").read_bytes() == b'{"a":0}\n{"a":1}\n{"a":2}\n'
        assert [path.name for path in (tmp_path / "views").iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("name", ["../x.json", "/tmp/x.json", "a/../../x.json"])
def test_paths_stay_inside(tmp_path, name):
    with RunFolder.open(tmp_path / "run", CONFIG) as run, pytest.raises(RunFolderError, match="lies outside"):
        run.write_json(name, {})


@pytest.mark.parametrize("name", ["run.json", "samples.jsonl", "./samples.jsonl", "tokens.bin", ".lock", "a/../run.json"])
def test_its_own_files_are_not_derived_ones(tmp_path, name):
    with RunFolder.open(tmp_path / "run", CONFIG) as run, pytest.raises(RunFolderError, match="kept by the run folder itself"):
        run.write_json(name, {})


def test_closing_twice_is_fine(tmp_path):
    run = RunFolder.open(tmp_path, CONFIG)
    run.close()
    run.close()


def test_memory_is_bounded_by_the_index(tmp_path):
    """100,000 rows of about 1 kB: opening holds tens of bytes a row, not the journal."""
    RunFolder.open(tmp_path, CONFIG).close()
    count = 100_000
    row = make(1, "x" * 800, stats=False).to_json()
    tail = json.dumps(row, separators=(",", ":"))[len('{"key":"0123456789abcdef"') :].encode() + b"\n"
    with (tmp_path / "samples.jsonl").open("wb") as file:
        file.writelines(b'{"key":"%016x"' % (number * 0x9E3779B97F4A7C15 % 2**64) + tail for number in range(count))
    assert (tmp_path / "samples.jsonl").stat().st_size > 100_000_000
    tracemalloc.start()
    try:
        with RunFolder.open(tmp_path, CONFIG) as run:
            held, peak = tracemalloc.get_traced_memory()
            assert run.num_finished == count
            assert f"{77 * 0x9E3779B97F4A7C15 % 2**64:016x}" in run
            tracemalloc.reset_peak()
            assert sum(1 for _ in zip(run.samples(), range(1000), strict=False)) == 1000
            assert tracemalloc.get_traced_memory()[1] < held + 5_000_000
    finally:
        tracemalloc.stop()
    assert held < 40 * count
    assert peak < 80_000_000


def test_the_index_merges_what_is_new(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.store.index._MIN_NEW", 8)
    samples = [make(number, "", stats=False) for number in range(1, 101)]
    with RunFolder.open(tmp_path, CONFIG) as run:
        for sample in samples:
            run.append(sample)
            assert sample.key in run
        assert run.num_finished == 100
        assert all(same(run.load(s.key), s) for s in samples)


def test_lines_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.store.journal._BLOCK_BYTES", 100)
    samples = [make(1, "x" * 1000), make(2, "短"), make(3, "y" * 9000, stats=False), make(4, error="e" * 300)]
    with RunFolder.open(tmp_path, CONFIG) as run:
        for sample in samples:
            run.append(sample)
    with RunFolder.open(tmp_path, CONFIG) as run:
        assert [s.key in run for s in samples] == [True, True, True, False]
        assert all(same(run.load(s.key), s) for s in samples)
