"""A real Prometheus scrapes the real agent, with the files of deploy/; node_exporter's file is as its reader wants it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.mailbox import free_port
from tests.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.journey.conftest import Agent, Site

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
NAME = re.compile(r"\b(?:dropline|process)_[a-z_]+\b")


def expressions() -> dict[str, str]:
    """Every PromQL expression of the dashboard and the alerts, with the dashboard's variables filled in."""
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            labels = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert labels is not None
            found[f"${variable['name']}"] = f"count by ({labels[2]}) ({labels[1]})"
    filled = {
        what: re.sub(r"\$(job|instance|rule)\b", ".*", text).replace("$__rate_interval", "10s")
        for what, text in found.items()
    }
    assert not [text for text in filled.values() if "$" in text]
    return filled


class Prometheus:
    """A server that scrapes one agent each second."""

    def __init__(self, folder: Path, target: str) -> None:
        sample = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        (scrape,) = sample["scrape_configs"]
        scrape["static_configs"] = [{"targets": [target]}]
        sample["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        sample["rule_files"] = [str(DEPLOY / "prometheus/alerts.yml")]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(sample))
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = (folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        """What the HTTP API answers; an error is one of the test."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  (of our own server)
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from None

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def is_up(self) -> bool:
        """Whether it answers, and has scraped the agent a few times."""
        try:
            return bool(self.ask("count_over_time(dropline_build_info[1m]) >= 3"))
        except (OSError, AssertionError):
            assert self._process.poll() is None, Path(self._log.name).read_text()
            return False

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def scraped(
    tmp_path_factory: pytest.TempPathFactory, sites: Callable[[], Site]
) -> Iterator[tuple[Site, Agent, Prometheus]]:
    """An agent that has delivered and refused, with a webhook that waits, and a Prometheus that has seen it."""
    program("prometheus")
    site = sites()
    then = [{"webhook": f"http://127.0.0.1:{free_port()}/"}]
    reclaim = {"after": "0s"}
    site.configure(
        site.rule(then=then, reclaim=reclaim, batch={"linger": "0s", "by": "dir"}), agent={"listen": "127.0.0.1:0"}
    )
    (site.inbox / "link").symlink_to("nowhere")
    agent = site.start()
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), agent.url.removeprefix("http://").rstrip("/"))
    try:
        site.until(server.is_up, "Prometheus has scraped the agent")
        # Now, so that counters rise while they are looked at.
        for number in range(20):
            site.put(f"run/{number}", b"x" * 1000)
        site.until(lambda: len(site.delivered) == 20, "the files")
        site.until(
            lambda: server.ask('increase(dropline_verified_bytes_total{rule="r",destination="share"}[10s]) > 0'),
            "the rate of what was delivered",
        )
        yield site, agent, server
    finally:
        server.close()


def test_every_expression_is_understood_and_every_name_in_it_is_exported(
    scraped: tuple[Site, Agent, Prometheus],
) -> None:
    """The alerts, the panels, the variables, by Prometheus itself; what shows the state of things shows something."""
    site, agent, server = scraped
    exported = set(re.findall(r"^# TYPE (\S+)", agent.get("/metrics").body, re.M))
    known = exported | {f"{name}{end}" for name in exported for end in ("_bucket", "_sum", "_count")}
    for what, expression in expressions().items():
        assert set(NAME.findall(expression)) <= known, what

    def empty() -> set[str]:
        return {what for what, expression in expressions().items() if not server.ask(expression)}

    quiet = {rule["alert"] for rule in RULES} - {"DroplineFilesRefused", "DroplineActionsUndone"}
    quiet |= {
        "Deliveries under way or failed A",  # all have ended
        "Read again A",  # no copy was
        "Ages of proofs B",
        "Logins last for A",  # there is no Globus destination
        "Sent again, and found there already A",  # nothing was
        "Waiting to be done or said C",  # no message was sent
    }
    site.until(lambda: empty() <= quiet, "samples for all others")
    assert empty() == quiet


def test_every_metric_is_shown_or_alerted_on(scraped: tuple[Site, Agent, Prometheus]) -> None:
    """None is exported for nobody; of those of the process the ones that say how it does."""
    _, agent, _ = scraped
    exported = set(re.findall(r"^# TYPE (\S+)", agent.get("/metrics").body, re.M))
    used = {name for text in expressions().values() for name in NAME.findall(text)}
    whole = {re.sub(r"_(bucket|sum|count)$", "", name) if "delivery_seconds" in name else name for name in used}
    assert exported - whole == {"process_virtual_memory_bytes", "process_start_time_seconds"}


def test_promtool_finds_nothing_wrong(scraped: tuple[Site, Agent, Prometheus]) -> None:
    """Names, units, types and help texts of /metrics."""
    _, agent, _ = scraped
    check_metrics(agent.get("/metrics").body)


def check_metrics(text: str) -> None:
    """What `promtool check metrics` says of it."""
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_rules_run_and_a_destination_that_goes_down_is_noticed(scraped: tuple[Site, Agent, Prometheus]) -> None:
    """No rule has an error; the alert is pending as soon as the agent says so, and gone when it is up again."""
    site, _, server = scraped

    def states() -> dict[str, tuple[str, str]]:
        (group,) = server.get("rules")["groups"]
        return {rule["name"]: (rule["health"], rule["state"]) for rule in group["rules"]}

    site.until(lambda: {health for health, _ in states().values()} == {"ok"}, "all rules were evaluated")
    assert states()["DroplineDestinationDown"] == ("ok", "inactive")
    site.share.rename(site.root / "away")
    site.put("late", b"1")
    site.until(lambda: states()["DroplineDestinationDown"] == ("ok", "pending"), "the alert")
    (site.root / "away").rename(site.share)
    site.until(lambda: states()["DroplineDestinationDown"] == ("ok", "inactive"), "the end of it")
    assert states()["DroplineFilesRefused"][1] == "pending"


def test_the_alerts_do_what_they_say() -> None:
    """deploy/prometheus/alerts_test.yml: each alert fires when it should, and not for what only looks like it."""
    tests = DEPLOY / "prometheus/alerts_test.yml"
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = tests.read_text()
    assert not [rule["alert"] for rule in RULES if rule["alert"] not in text], "each is tested"


def test_the_sample_configuration_is_valid() -> None:
    """As it is: it names no file that is not beside it."""
    done = subprocess.run(
        [program("promtool"), "check", "config", str(DEPLOY / "prometheus/prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_it_is_and_leads_to_what_to_do(rule: dict[str, Any]) -> None:
    """Severity, summary, description, and a heading in OPERATIONS."""
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    base, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert base == "https://dropline.example.org/OPERATIONS/"
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/OPERATIONS.md").read_text(), re.M)
    assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_dashboard_is_whole() -> None:
    """Numbers are used once, no panel lies on another, each says what it shows and asks the chosen Prometheus."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


# The text file


def test_the_text_file_is_whole_readable_and_about_the_agent_alone(site: Site) -> None:
    """Whatever the umask: one name, mode 644, a time, and nothing that node_exporter has itself."""
    folder = site.root / "textfile"
    folder.mkdir()
    site.configure(agent={"textfile": "textfile/dropline.prom", "listen": "127.0.0.1:0"})
    site.put("a", b"1")
    before = time.time()
    old = os.umask(0o077)
    try:
        agent = site.start()
    finally:
        os.umask(old)
    path = folder / "dropline.prom"
    site.until(path.exists, "the file")
    assert [one.name for one in folder.iterdir()] == ["dropline.prom"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    text = path.read_text()
    check_metrics(text)
    families = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert families == {
        name
        for name in re.findall(r"^# TYPE (\S+)", agent.get("/metrics").body, re.M)
        if not name.startswith("process_")
    }
    read = re.search(r"^dropline_read_timestamp_seconds (\S+)$", text, re.M)
    assert read is not None
    assert before <= float(read[1]) <= time.time()
    assert agent.stop() == 0
    assert path.exists(), "how old it is says that the agent is gone"
    assert site.once() == 0
    assert float(re.findall(r"^dropline_read_timestamp_seconds (\S+)$", path.read_text(), re.M)[0]) > float(read[1])


def test_node_exporter_takes_the_file_beside_its_own_metrics(site: Site) -> None:
    """No error, no doubled name: what it exports has what the agent wrote, and says how old that is."""
    folder = site.root / "textfile"
    folder.mkdir()
    site.configure(agent={"textfile": "textfile/dropline.prom"})
    site.put("a", b"1")
    assert site.once() == 0
    port = free_port()
    exporter = subprocess.Popen(
        [
            program("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}",
            "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def scrape() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from None
        except OSError:
            assert exporter.poll() is None
            return ""

    try:
        text = site.until(scrape, "node_exporter answers")
    finally:
        exporter.kill()
        exporter.wait()
    assert "node_textfile_scrape_error 0\n" in text
    assert "node_textfile_mtime_seconds{file=" in text
    assert 'dropline_files_total{event="verified",rule="r"} 1\n' in text
    assert "\nprocess_cpu_seconds_total " in text


def test_a_text_file_that_cannot_be_written_is_said_and_tried_again(site: Site) -> None:
    """In the log and by /healthz, until its folder is there; deliveries do not care."""
    site.configure(agent={"textfile": "textfile/dropline.prom", "listen": "127.0.0.1:0"})
    agent = site.start()
    site.put("a", b"1")
    site.until(lambda: site.delivered == {"a": b"1"}, "the delivery")
    agent.logs(f"[agent] textfile = {site.root}/textfile/dropline.prom cannot be written: No such file or directory")
    (site.root / "textfile").mkdir()
    site.until((site.root / "textfile/dropline.prom").exists, "the file")
    site.until(lambda: agent.get("/healthz").status == 200, "health")
