"""The status page in a real browser: live, by keyboard, on a phone, in the dark, read aloud."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.browser import Browser, chromium
from tests.programs import program

if TYPE_CHECKING:
    from tests.journey.conftest import Agent, Site

HOSTILE = "<script>document.title='caught'<⧸script><img src=x onerror=alert(1)>.dat"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTRAST = """
(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const back = parse(getComputedStyle(node).backgroundColor);
      if (back.length < 4 || back[3] > 0) return back;
    }
    return [255, 255, 255];
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.nodeValue.trim(), node = walker.currentNode.parentElement;
    if (!text || !node.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(text);
  }
  return poor;
})()
"""
"""Texts whose contrast with what is behind them is below 4.5 to 1 (WCAG 2.2, 1.4.3)."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One tab for the tests of this module."""
    with chromium(program("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def agent(sites: "Callable[[], Site]") -> "tuple[Site, Agent]":
    """An agent that delivered a run, and refused a link with a hostile name."""
    site = sites()
    site.configure(site.rule(exclude=["*.tmp"]), agent={"listen": "127.0.0.1:0"})
    for number in range(3):
        site.put(f"run_0001/a_rather_long_name_of_a_measurement_{number:05}.h5", b"x" * 1000)
    (site.inbox / HOSTILE).symlink_to("/nowhere")
    agent = site.start()
    site.until(lambda: site.status()["files"] == {"verified": 3, "refused": 1}, "all has its verdict")
    return site, agent


@pytest.fixture
def tab(browser: Browser, agent: "tuple[Site, Agent]") -> Iterator[Browser]:
    """The first page, fresh; afterwards nothing went wrong in the browser, and nothing was asked of anybody else."""
    browser.look(1000, 800)
    browser.requests.clear()
    browser.problems.clear()
    browser.open(agent[1].url)
    yield browser
    browser.run("1")  # what went wrong is told before this answer
    assert browser.problems == []
    assert {address for address in browser.requests if not address.startswith((agent[1].url, "about:"))} == set()


def test_what_is_verified_meanwhile_shows_up_without_a_reload(tab: Browser, agent: "tuple[Site, Agent]") -> None:
    """Focus, what is typed and where the page is scrolled to stay as they are; the change is said once."""
    site, _ = agent
    tab.look(1000, 300)
    tab.run("window.untouched = true; document.getElementById('q').focus()")
    tab.type("half a na")
    tab.run("window.scrollTo(0, 150)")
    site.put("run_0002/new.h5", b"y" * 10)
    tab.until("/run_0002/.test(document.querySelector('#summaries').textContent)", "the folder is shown")
    tab.until(
        "[...document.querySelectorAll('#summaries tr')]"
        ".some(row => /run_0002[^]*What is delivered is safe/.test(row.textContent))",
        "it is safe",
    )
    assert tab.run("[window.untouched, document.activeElement.id, q.value, window.scrollY]") == [
        True, "q", "half a na", 150,
    ]  # fmt: skip


def test_focus_stays_on_a_row_that_moves_down(tab: Browser, agent: "tuple[Site, Agent]") -> None:
    """Rows are matched by what they are, not by where they stand."""
    site, _ = agent
    link = "[...document.querySelectorAll('#summaries a')].find(a => /run_0001/.test(a.textContent))"
    tab.run(f"window.row = {link}; row.focus()")
    site.put("run_0003/new.h5", b"z")
    tab.until("/run_0003/.test(document.querySelector('#summaries').textContent)", "the folder is shown")
    assert tab.run(f"row === {link} && document.activeElement === row")


def test_a_search_needs_only_the_keyboard(tab: Browser, agent: "tuple[Site, Agent]") -> None:
    """The first stop skips to the content; then comes the search; what it finds is a link away."""
    tab.press("Tab")
    assert tab.run("document.activeElement.textContent") == "Skip to the content"
    tab.press("Tab")
    tab.press("Tab")
    assert tab.run("document.activeElement.id") == "q"
    tab.type("measurement_00001")
    tab.press("Enter")
    tab.until("/Found for/.test(document.body.innerText)", "the search is answered")
    assert tab.run("[...document.querySelectorAll('#found th a')].map(a => a.textContent)") == [
        "run_0001/a_rather_long_name_of_a_measurement_00001.h5"
    ]
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") != "hidden"
    tab.run("document.querySelector('#found th a').focus()")
    tab.press("Enter")
    tab.until("/Safe to remove/.test(document.querySelector('#headline').textContent)", "the file's page")
    tab.until("document.readyState === 'complete'", "it is loaded")
    tab.run("document.querySelector('summary').focus()")
    tab.press("Enter")
    proof = tab.run("document.querySelector('details > code').innerText")
    assert proof.startswith("sha256:")
    assert len(proof) == 7 + 64
    tab.run("window.looks = performance.getEntriesByType('resource').length")
    tab.until("performance.getEntriesByType('resource').length > looks + 1", "the page looked again")
    assert tab.run("document.querySelector('details').open")


def test_a_hostile_name_is_text(tab: Browser) -> None:
    """In the list of what a person must do, and on its own page."""
    assert HOSTILE in tab.text
    assert tab.run("document.querySelectorAll('img, main script').length") == 0
    tab.open(tab.run("document.querySelector('.examples a').href"))
    assert tab.run("document.querySelector('h1').textContent") == HOSTILE
    assert tab.run("document.title") == f"{HOSTILE} – Dropline"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read_in_the_light_and_in_the_dark(tab: Browser, scheme: str) -> None:
    """Contrast 4.5 to 1 at least (WCAG AA), and the page follows what the user prefers."""
    tab.look(1000, 800, scheme)
    assert tab.run(CONTRAST) == []
    back = tab.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (back < 64) is (scheme == "dark")


def test_a_phone_shows_it_without_scrolling_sideways(tab: Browser) -> None:
    """360 pixels wide: the first page, a search, a folder and a file."""
    tab.look(360, 740)
    links = tab.run("[...document.querySelectorAll('#summaries th a, .examples a')].map(a => a.href)")
    for link in (tab.run("location.href"), tab.run("location.href") + "?q=run", *links):
        tab.open(link)
        assert tab.run(OVERFLOW) <= 0, link
        assert tab.run("Math.min(...[...document.querySelectorAll('input, button')].map(x => x.offsetHeight))") >= 24


def test_a_screen_reader_is_told_what_is_where(tab: Browser) -> None:
    """Landmarks, one first heading, headings in order, named tables, links, controls and graphics, and the language."""
    told = tab.tree()
    roles = [role for role, _ in told]
    assert [roles.count(role) for role in ("banner", "search", "main", "status")] == [1, 1, 1, 1]
    assert "1 thing needs you" in [name for role, name in told if role == "heading"]
    assert ("searchbox", "File or run") in told
    assert ("button", "Find") in told
    assert [
        name for role, name in told if role in ("link", "button", "table", "progressbar", "region") and not name
    ] == []
    assert roles.count("columnheader") >= 12
    assert roles.count("rowheader") >= 4
    levels = tab.run("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert (levels[0], levels.count(1)) == (1, 1)
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert tab.run("document.documentElement.lang") == "en"
    assert tab.run("[...document.querySelectorAll('th')].every(th => th.scope)")
    assert tab.run("new Set([...document.querySelectorAll('[id]')].map(x => x.id)).size") == tab.run(
        "document.querySelectorAll('[id]').length"
    )
    assert tab.run("document.querySelectorAll('[style], style, [onclick]').length") == 0


def test_an_agent_that_is_gone_is_said(browser: Browser, site: "Site") -> None:
    """What was shown is marked as old, until the agent is back at the same address."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    first = site.start()
    browser.look(1000, 800)
    browser.open(first.url)
    browser.until("/No files yet/.test(document.body.innerText)", "the page")
    assert browser.run("document.getElementById('silence').hidden")
    assert first.stop() == 0
    browser.until("!document.getElementById('silence').hidden", "it says so")
    assert browser.run("document.body.className") == "stale"
    site.configure(agent={"listen": first.url.removeprefix("http://").rstrip("/")})
    site.start()
    browser.until("document.getElementById('silence').hidden", "it is back")
    assert browser.run("document.body.className") == ""
