import gzip
import struct
import zipfile
from pathlib import Path

import pytest

from cluster.base.errors import InvalidInput, NotFound, TooLarge
from cluster.features.intake.files.decoding import text_lines
from cluster.features.intake.files.tree import MAX_FILE_BYTES, open_tree


def is_text(name: str) -> bool:
    return name.endswith(".txt")


def names(path: Path) -> tuple[str, ...]:
    with open_tree(path, is_text) as found:
        return found.names


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("a")
    top = tmp_path / "top"
    (top / "below").mkdir(parents=True)
    (top / "linked").symlink_to(tmp_path / "real")
    (top / "below" / "up").symlink_to(top)
    (tmp_path / "real" / "back").symlink_to(top / "below")
    (top / "self.txt").symlink_to(top / "self.txt")
    assert names(top) == ("linked/a.txt",)
    with pytest.raises(NotFound, match="There is no file or folder"):
        names(top / "self.txt")


def test_what_is_neither_file_nor_folder_is_refused() -> None:
    with pytest.raises(InvalidInput, match="/dev/null is neither a file nor a folder"):
        names(Path("/dev/null"))


@pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt", "a/../../b.txt"])
def test_a_zip_that_reaches_outside_of_itself_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(InvalidInput, match="which lies outside of it"):
        names(tmp_path / "a.zip")


def test_a_zip_that_is_locked_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "some words")
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"some words", b"same words"))
    with open_tree(path, is_text) as found, pytest.raises(InvalidInput, match="Bad CRC-32"):
        found.read("a.txt")
    with open_tree(path, is_text) as found, pytest.raises(InvalidInput, match="No such file"):
        found.read("b.txt")
    at = sound.index(b"PK\x01\x02") + 8
    path.write_bytes(sound[:at] + struct.pack("<H", 1) + sound[at + 2 :])
    with pytest.raises(InvalidInput, match=r"'a\.txt' in .* is encrypted"):
        names(path)


@pytest.mark.slow
def test_a_bomb_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"a" * (MAX_FILE_BYTES + 1))
    with open_tree(tmp_path / "a.zip", is_text) as found:
        with pytest.raises(TooLarge, match=r"a\.zip/a\.txt is larger than 100,000,000 bytes"):
            found.read("a.txt")
        with (
            found.stream("a.txt") as file,
            pytest.raises(TooLarge, match=r"A line of it is larger"),
        ):
            list(text_lines(file, "it"))


def test_a_zip_of_windows_has_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good\\", "")
        archive.writestr("good\\a.txt", "a")
        archive.writestr("bad\\b.txt", "b")
    with open_tree(tmp_path / "a.zip", is_text) as found:
        assert found.names == ("bad/b.txt", "good/a.txt")
        assert found.read("good/a.txt") == b"a"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("..\\a.txt", "a")
    with pytest.raises(InvalidInput, match="which lies outside of it"):
        names(tmp_path / "b.zip")


def test_a_file_that_is_packed_twice_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(gzip.compress(b"some words")))
    with (
        open_tree(tmp_path / "a.txt.gz", lambda _: True) as found,
        pytest.raises(InvalidInput, match=r"a\.txt\.gz is packed twice.* Unpack it once"),
    ):
        found.read("a.txt.gz")
