"""Files hashed while they are written have the content they were given and the digest it has."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orbax_model_lite.core.digests import FileDigest, digest_file
from orbax_model_lite.core.hashing import write_hashed

MEGABYTE = bytes(range(256)) * 4096


@pytest.mark.parametrize(
    "contents",
    [[], [b""], [b"abc"], [b"a", b"", b"bc"], [MEGABYTE * 9, b"end"], [MEGABYTE] * 150],
    ids=["no piece", "empty", "one", "several", "larger than a piece", "more than is in flight"],
)
def test_the_digest_is_that_of_the_file(tmp_path: Path, contents: list[bytes]) -> None:
    found = write_hashed(tmp_path / "f", contents)
    assert found == digest_file(tmp_path / "f") == FileDigest.of(b"".join(contents))


def test_buffers_of_any_element_type_are_written_as_their_bytes(tmp_path: Path) -> None:
    write_hashed(tmp_path / "f", [memoryview(b"12345678").cast("I")])
    assert (tmp_path / "f").read_bytes() == b"12345678"


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_hashed(tmp_path / "f", [b"yours"])
    assert (tmp_path / "f").read_bytes() == b"mine"


def test_nothing_is_left_of_a_file_whose_content_breaks_off(tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"a"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_hashed(tmp_path / "f", breaking())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_nothing_is_left_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="space") as raised:
        write_hashed(tmp_path / "f", [b"abc"])
    assert raised.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
