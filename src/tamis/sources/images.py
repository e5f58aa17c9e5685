"""A folder of pictures -> problems, one a picture, named by its path inside the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tamis.errors import InputError, UsageError
from tamis.images import check_image
from tamis.records import Problem
from tamis.sources.rows import BadRow

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tiff", ".tif", ".webp")


def read_images(
    folder: str | Path, *, recursive: bool = False, limit: int | None = None, bad_rows: list[BadRow]
) -> Iterator[Problem]:
    """Stream the pictures of a folder, at most `limit`, in order of name; the id is the path relative to the folder.

    Hidden files and links that lead out of the folder are left out, and so are links to folders.

    Args:
        folder: where they are.
        recursive: its subfolders too.
        limit: stop after this many pictures; None is all.
        bad_rows: pictures that cannot be read or are too large are appended here; the rest goes on.

    Raises:
        InputError: there is no such folder, or none of its pictures can be used.
        UsageError: a limit below 1.
    """
    root = Path(folder)
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} images leaves nothing to do", "Give at least 1")
    if not root.is_dir():
        what = f"{root} is a file, not a folder of images" if root.exists() else f"no such folder: {root}"
        raise InputError(what, "Name the folder that holds the images")
    return _problems(root.resolve(), str(root), limit, bad_rows, recursive=recursive)


def _problems(root: Path, name: str, limit: int | None, bad_rows: list[BadRow], *, recursive: bool) -> Iterator[Problem]:
    num_read, first_bad = 0, len(bad_rows)
    for path in _walk(root, root, bad_rows, recursive=recursive):
        try:
            check_image(path)
        except InputError as error:
            bad_rows.append(BadRow(str(path), "", error.message.replace(f" {path}", "")))
            continue
        num_read += 1
        yield Problem(path.relative_to(root).as_posix(), images=(str(path),), where=str(path))
        if num_read == limit:
            return
    if num_read:
        return
    if bad := bad_rows[first_bad:]:
        raise InputError(f"none of the {len(bad)} images of {name} can be used; the first is {bad[0]}", "Correct the files")
    deeper = "" if recursive else "; those of subfolders are read with --recursive"
    raise InputError(f"{name} holds no images ({', '.join(s[1:] for s in SUFFIXES)})", f"Check the path{deeper}")


def _walk(folder: Path, root: Path, bad_rows: list[BadRow], *, recursive: bool) -> Iterator[Path]:
    """The pictures of a folder and, in their places among the names, those of its subfolders."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        bad_rows.append(BadRow(str(folder), "", f"the folder cannot be read ({error.strerror})"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if recursive and entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root, bad_rows, recursive=True)
        elif recursive and entry.is_dir():
            bad_rows.append(BadRow(str(path), "", "a link to a folder is not followed"))
        elif path.suffix.lower() in SUFFIXES and not entry.is_dir():
            if entry.is_symlink() and not path.resolve().is_relative_to(root):
                bad_rows.append(BadRow(str(path), "", "a link that leads out of the folder is not followed"))
            else:
                yield path
