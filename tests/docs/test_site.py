"""The pages build as a site without a network, and no page of it loads anything from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT

BUILD = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
LOADED = re.compile(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?(https?:)?//")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the site is made of, in a folder of its own."""
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    return tmp_path


def build(copy: Path) -> subprocess.CompletedProcess[str]:
    """The build, in a network that has no way out where the kernel gives one."""
    alone = ["unshare", "--map-root-user", "--net"]
    confined = subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    words = [*alone, *BUILD] if confined else BUILD
    return subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)


def test_the_site_builds_offline_and_loads_nothing_from_elsewhere(copy: Path) -> None:
    done = build(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.stem: page.read_text() for page in (copy / "build" / "site").glob("*.html")}
    assert pages.keys() == {page.stem for page in (ROOT / "docs").glob("*.md")} | {"404"}
    for name, text in pages.items():
        assert not LOADED.search(text), f"{name} loads something from another host"


@pytest.mark.parametrize("link", ["gone.md", "data.md#gone"])
def test_a_broken_link_fails_the_build(copy: Path, link: str) -> None:
    with (copy / "docs" / "index.md").open("a") as page:
        page.write(f"\n[broken]({link})\n")
    assert build(copy).returncode != 0


def test_every_page_stands_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    assert set(re.findall(r"[\w-]+\.md", menu)) == {p.name for p in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = link.partition("#")
        if re.match(r"\w+:", link) or not path:
            continue
        target = (page.parent / path).resolve()
        assert target.exists(), f"{page.name} links to {link}"
        if heading:
            assert heading in headings(target), f"{page.name} links to {link}"


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub and the site make them of its headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}
