"""The status page, /metrics and /healthz of a running agent."""

import base64
import hashlib
import html
import json
import os
import re
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.mailbox import free_port

if TYPE_CHECKING:
    from tests.journey.conftest import Agent, Answer, Site

SCRIPT = "<script>alert(1)</script>.dat"


@pytest.fixture(scope="module")
def page(sites: "Callable[[], Site]") -> "tuple[Site, Agent]":
    """An agent that has delivered two files, refused one, and seen one that no rule claims."""
    site = sites()
    site.configure(site.rule(include=["*.dat"]), agent={"listen": "127.0.0.1:0", "canary_every": "1m"})
    site.put("a.dat", b"a" * 1500)
    site.put("b\n<b>.dat", b"b" * 500)
    site.put("un<i>claimed", b"")
    (site.inbox / SCRIPT.replace("/", "\\")).symlink_to("/nowhere")
    agent = site.start()
    site.until(lambda: site.states().get("a.dat") == ["verified"], "the files are delivered")
    site.until(lambda: site.status()["unclaimed"], "the sweep has ended")
    site.until(lambda: "dropline_canary_age_seconds{" in agent.get("/metrics").body, "the canary is written")
    return site, agent


def text(page: str) -> str:
    """The page's text without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_the_page_shows_what_is_where(page: "tuple[Site, Agent]") -> None:
    """Counts and sizes of each state, destinations, rules, and who needs a person."""
    site, agent = page
    answer = agent.get("/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    shown = text(answer.body)
    for piece in (
        "1 thing needs you 2 files proved at every destination.",
        "1 file is not delivered a link, not a file; the file it points to travels if it is watched itself; exclude the link",
        f"Then run dropline retry --config {site.config}",
        f"no rule claims 1 file below {site.inbox} , such as {site.inbox}/un&lt;i&gt;claimed",
        "inbox r · 3 files · 2.01 kB needs you share 2 of 3 No: 1 file is not delivered, a person must act",
        "2 files, 2 kB verified.",
        f"share {site.share} up since",
        f"r {site.inbox} 0 2 1",
    ):
        assert piece in shown, f"{piece}\n{shown}"


def page_of(agent: "Agent", link: str, name: str) -> "Answer":
    """Follow the link of that text on a page."""
    found = re.search(rf'href="([^"]*)">{re.escape(name)}<', agent.get(link).body)
    assert found is not None, name
    return agent.get(html.unescape(found[1]))


def test_a_folder_and_a_file_have_pages_of_their_own(page: "tuple[Site, Agent]") -> None:
    """With each file, its mark, where its copies are and the proof, whole."""
    site, agent = page
    folder = page_of(agent, "/", "inbox")
    shown = text(folder.body)
    assert folder.status == 200
    for piece in (
        "inbox No: 1 file is not delivered, a person must act",
        "3 files, 2.01 kB: 2 here and safe, 0 on their way, 1 refused, 0 reclaimed",
        f"At share 2 of 3 proved, in {site.share}",
        "a.dat verified 1.5 kB Safe to remove proved at share",
    ):
        assert piece in shown, f"{piece}\n{shown}"
    number = re.search(r'href="(/of[^"]*)">inbox<', agent.get("/").body)
    assert number is not None
    file = page_of(agent, number[1], "a.dat")
    assert f'<a href="{number[1]}">' in file.body, "the way back to its folder"
    shown = text(file.body)
    for piece in ("a.dat Safe to remove proved at share", "Size 1,500 bytes", hashlib.sha256(b"a" * 1500).hexdigest()):
        assert piece in shown, f"{piece}\n{shown}"


@pytest.mark.parametrize(
    ("link", "status"),
    [
        ("/of", 404), ("/of?id=999999", 404), ("/of?id=x", 404), ("/of?id=%C2%B2", 404), ("/of?id=" + "9" * 400, 404),
        ("/file", 404), ("/file?path=/etc/passwd", 404), ("/file?path=%00", 404), ("/?q=" + "x" * 5000, 200),
        ("/?q=%27%22%3Cscript%3E", 200), ("/?q=%FF%00", 200), ("/?" + "&".join("q=x" for _ in range(50)), 200),
    ],
)  # fmt: skip
def test_odd_questions_have_plain_answers(page: "tuple[Site, Agent]", link: str, status: int) -> None:
    """Nothing breaks, and what was asked for comes back as text."""
    answer = page[1].get(link)
    assert answer.status == status
    assert "<script>" not in answer.body


def test_names_are_text_and_not_markup(page: "tuple[Site, Agent]") -> None:
    """A file's name cannot put a script, a tag or a line break into the page."""
    agent = page[1]
    folder = page_of(agent, "/", "inbox").body
    for body in (agent.get("/").body, folder, agent.get("/?q=script").body):
        assert re.findall("<script[^>]*>", body) == ['<script src="/live.js" defer>']
        assert "&lt;script&gt;alert(1)&lt;\\script&gt;.dat" in body
    assert "b\\n&lt;b&gt;.dat" in folder


def directives(policy: str) -> dict[str, list[str]]:
    """A Content-Security-Policy, taken apart."""
    return {name: values for name, *values in (part.split() for part in policy.split(";") if part.strip())}


def test_every_answer_has_a_strict_policy(page: "tuple[Site, Agent]") -> None:
    """Whatever is asked, and however it is answered: no script but the page's own, nothing inline, nothing from elsewhere."""
    seen = set()
    for method, path, headers in (
        *(("GET", path, {}) for path in ("/", "/style.css", "/status.json", "/metrics", "/healthz", "/nothing")),
        ("POST", "/", {}), ("OPTIONS", "/metrics", {}), ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/", {"Sec-Fetch-Site": "cross-site"}), ("GET", "/", {"X": "x" * 20_000}),
    ):  # fmt: skip
        answer = page[1].request(method, path, headers)
        seen.add(answer.status)
        policy = directives(answer.headers["Content-Security-Policy"])
        assert policy["default-src"] == ["'none'"], path
        assert policy["frame-ancestors"] == ["'none'"], path
        assert policy["base-uri"] == ["'none'"], path
        allowed = {source for name, sources in policy.items() if name != "default-src" for source in sources}
        assert allowed <= {"'self'", "'none'"}, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert "Access-Control-Allow-Origin" not in answer.headers, path
        for name in ("Cross-Origin-Resource-Policy", "Cross-Origin-Opener-Policy"):
            assert answer.headers[name] == "same-origin", path
    assert seen == {200, 403, 404, 405, 421, 431}


def test_browsers_are_told_to_load_and_frame_nothing(page: "tuple[Site, Agent]") -> None:
    """Each answer has the headers that keep scripts, frames, sniffing and caches away, and names no server version."""
    for path in ("/", "/style.css", "/live.js", "/icon.svg", "/status.json", "/metrics", "/healthz", "/nothing"):
        headers = page[1].get(path).headers
        assert {
            key: headers.get(key)
            for key in (
                "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control", "Server",
            )
        } == {
            "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
            " img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "Server": None,
        }, path  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"Host": "evil.example"}, 421),
        ("GET", "/metrics", {"Host": "evil.example:9469"}, 421),
        ("GET", "/style.css", {"Host": "127.0.0.1.evil.example"}, 421),
        ("GET", "/healthz", {"Host": "localhost.evil.example:80"}, 421),
        ("GET", "/nothing", {"Host": ""}, 421),
        ("GET", "/", {"Host": "LOCALHOST"}, 200),
        ("GET", "/", {"Host": "[::1]:9469"}, 200),
        ("POST", "/", {}, 405),
        ("DELETE", "/status.json", {}, 405),
        ("GET", "/nothing", {}, 404),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", "/style.css", {}, 200),
        ("HEAD", "/", {}, 200),
    ],
)
def test_only_known_pages_are_given_and_only_to_this_computer(
    page: "tuple[Site, Agent]", method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Other host names (DNS rebinding), methods and paths are turned away."""
    answer = page[1].request(method, path, headers)
    assert answer.status == status
    if method == "HEAD":
        assert (answer.body, int(answer.headers["Content-Length"]) > 0) == ("", True)


def test_the_page_as_json_is_what_the_command_prints(page: "tuple[Site, Agent]") -> None:
    """/status.json and `dropline status --format json` agree."""
    site, agent = page
    answer = agent.get("/status.json")
    assert (answer.headers["Content-Type"], json.loads(answer.body)) == ("application/json", site.status())


FAMILIES = {
    "dropline_files_total": {"rule", "event"},
    "dropline_verified_bytes_total": {"rule", "destination"},
    "dropline_backlog_files": {"rule", "state"},
    "dropline_backlog_bytes": {"rule", "state"},
    "dropline_oldest_unverified_seconds": {"rule"},
    "dropline_longest_wait_seconds": {"rule"},
    "dropline_config_last_reload_successful": set(),
    "dropline_deliveries": {"destination", "state"},
    "dropline_delivery_seconds_bucket": {"destination", "le"},
    "dropline_delivery_seconds_count": {"destination"},
    "dropline_delivery_seconds_sum": {"destination"},
    "dropline_oldest_proof_timestamp_seconds": {"destination"},
    "dropline_scrub_findings": {"destination", "kind"},
    "dropline_transport_requests_total": {"destination", "operation", "outcome"},
    "dropline_events_lost_total": {"rule"},
    "dropline_files_found_by_sweep_total": {"rule"},
    "dropline_watch_up": {"rule"},
    "dropline_canary_age_seconds": {"rule"},
    "dropline_clock_skew_seconds": {"rule"},
    "dropline_last_verified_timestamp_seconds": {"rule"},
    "dropline_sweep_seconds": {"rule"},
    "dropline_unseen_directories": {"rule"},
    "dropline_last_sweep_timestamp_seconds": {"rule"},
    "dropline_destination_up": {"destination"},
    "dropline_source_free_bytes": {"rule"},
    "dropline_refused_files": {"rule"},
    "dropline_build_info": {"version", "python"},
    "dropline_notices_pending": set(),
    "dropline_read_timestamp_seconds": set(),
    "process_cpu_seconds_total": set(),
    "process_max_fds": set(),
    "process_open_fds": set(),
    "process_resident_memory_bytes": set(),
    "process_start_time_seconds": set(),
    "process_virtual_memory_bytes": set(),
}
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? ([-+0-9.einfa]+)")


def test_metrics_have_the_promised_names_and_labels(page: "tuple[Site, Agent]") -> None:
    """Names, labels and values: nothing else is exported, and no label holds a path."""
    site, agent = page
    answer = agent.get("/metrics")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
    families: dict[str, set[str]] = {}
    values: dict[str, float] = {}
    for line in answer.body.splitlines():
        if not line.startswith("#"):
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            families.setdefault(sample[1], set()).update(re.findall(r'(\w+)="', sample[2] or ""))
            values[f"{sample[1]}{{{sample[2]}}}"] = float(sample[3])
    assert families == FAMILIES
    assert str(site.inbox) not in answer.body
    expected = {
        'dropline_files_total{event="verified",rule="r"}': 2,
        'dropline_files_total{event="refused",rule="r"}': 1,
        'dropline_verified_bytes_total{destination="share",rule="r"}': 2000,
        'dropline_backlog_files{rule="r",state="candidate"}': 0,
        'dropline_oldest_unverified_seconds{rule="r"}': 0,
        'dropline_delivery_seconds_count{destination="share"}': 2,
        'dropline_destination_up{destination="share"}': 1,
        'dropline_refused_files{rule="r"}': 1,
        'dropline_watch_up{rule="r"}': 1,
    }
    assert {key: values[key] for key in expected} == expected


def test_the_health_check_says_what_is_wrong(site: "Site") -> None:
    """200 while all is well; 503 with the reason while a watched directory is away."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    answer = agent.get("/healthz")
    assert (answer.status, answer.body) == (200, "ok\n")
    shutil.rmtree(site.inbox)
    site.until(lambda: agent.get("/healthz").status == 503, "it tells of the directory")
    answer = agent.get("/healthz")
    assert answer.body == f"{site.inbox}: the directory is not there: No such file or directory\n"
    assert answer.body.rstrip() in text(agent.get("/").body)


def test_an_address_that_is_not_this_computers_is_refused(site: "Site", page: "tuple[Site, Agent]") -> None:
    """Another interface, no port, a port that is taken: exit code 2 and one line that says what to write."""
    taken = page[1].url.removeprefix("http://").rstrip("/")
    for listen, reason in {
        "0.0.0.0:9469": "[agent]: listen: '0.0.0.0:9469' is beyond loopback: everybody in the network could ask",
        "127.0.0.1": "[agent]: listen: '127.0.0.1' is not an address and a port",
        "127.0.0.1:http": "[agent]: listen: '127.0.0.1:http' is not an address and a port",
        taken: f"the status page cannot listen on {taken}: Address already in use",
    }.items():
        site.configure(agent={"listen": listen})
        done = site.dropline("run")
        assert (done.code, done.out, reason in done.err.splitlines()[-1]) == (2, "", True), done
    assert os.listdir(site.share) == []


TOKEN = "correct-horse-battery"


def basic(password: str) -> dict[str, str]:
    """What a browser sends after it has asked its user."""
    return {"Authorization": "Basic " + base64.b64encode(f"ada:{password}".encode()).decode()}


def test_with_a_token_nothing_is_told_without_it(site: "Site") -> None:
    """Prometheus and browsers send it in their ways; without it only whether the agent is well is told, and no reason."""
    file = site.root / "page.token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    site.configure(agent={"listen": "127.0.0.1:0", "token_file": "page.token"})
    agent = site.start()
    for path in ("/", "/style.css", "/status.json", "/metrics", "/nothing"):
        answer = agent.get(path)
        assert (answer.status, answer.body) == (401, "This page wants the token ([agent] token_file).\n"), path
        assert answer.headers["Www-Authenticate"].startswith(("Basic ", "Bearer ")), path
        for way in ({"Authorization": f"Bearer {TOKEN}"}, basic(TOKEN)):
            assert agent.request("GET", path, way).status == (404 if path == "/nothing" else 200), path
    assert agent.request("GET", "/", {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}).status == 421
    assert (agent.get("/healthz").status, agent.get("/healthz").body) == (200, "ok\n")
    assert agent.request("POST", "/healthz").status == 401
    shutil.rmtree(site.inbox)
    site.until(lambda: agent.get("/healthz").status == 503, "it tells of the directory")
    assert str(site.inbox) not in agent.get("/healthz").body
    assert str(site.inbox) in agent.request("GET", "/healthz", basic(TOKEN)).body
    assert TOKEN not in agent.log()


def test_a_token_that_others_can_read_is_refused(site: "Site") -> None:
    """Nor one that is absent or could be guessed: exit code 2, and what to do."""
    file = site.root / "page.token"
    site.configure(agent={"listen": "0.0.0.0:0", "token_file": "page.token"})
    done = site.dropline("run")
    assert (done.code, f"the secret in {file} cannot be read: No such file or directory" in done.err) == (2, True), done
    for content, mode, reason in (
        (TOKEN, 0o644, f"the secret in {file} can be read by others; chmod 600 {file}"),
        (TOKEN[:15], 0o600, f"the token in {file} is not at least 16 letters"),
        ("two words and more", 0o600, f"the token in {file} is not at least 16 letters"),
    ):
        file.write_text(content)
        file.chmod(mode)
        done = site.dropline("run")
        assert (done.code, done.out, reason in done.err, content in done.err) == (2, "", True, False), done


def test_a_file_is_known_from_its_creation_on(site: "Site") -> None:
    """While a program has it open, neither page nor status say that all is safe, nor that its folder may go."""
    site.configure(site.rule(), agent={"listen": f"127.0.0.1:{free_port()}"})
    site.put("a.dat", b"x")
    agent = site.start()
    site.until(lambda: site.status()["files"] == {"verified": 1}, "the first file is safe")
    with (site.inbox / "b.dat").open("wb") as writer:
        site.until(lambda: site.status()["files"] == {"verified": 1, "candidate": 1}, "the second is known")
        front = text(agent.get("/").body)
        assert "1 file on its way" in front
        assert "Not yet: 1 file is on the way" in front
        writer.write(b"y")
    site.until(lambda: site.status()["files"] == {"verified": 2}, "the second file is safe")
    assert "Everything is safe" in agent.get("/").body
    assert agent.stop() == 0
