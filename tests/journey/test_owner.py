"""One state directory, one configuration."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.journey.conftest import Site


def test_another_configuration_is_refused_until_it_takes_over(site: "Site") -> None:
    """The state directory remembers the path of its configuration; another one has two ways out, which the error names."""
    site.put("a.dat", b"one")
    assert site.once() == 0
    other = site.config.with_name("other.toml")
    other.write_text(site.config.read_text())
    done = site.dropline("run", "--once", "--config", str(other))
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"dropline: the state directory {site.state} belongs to the configuration {site.config}, and this one is {other}; give this"
        " one another state directory ([agent] state_dir), or, where it replaces the other, `dropline takeover`"
        f" --config {other}\n"
    )
    checked = site.dropline("check", "--config", str(other)).out
    assert (
        f"warning: the state belongs to the configuration {site.config}: `dropline run` refuses it for this one"
        in checked
    )
    took = site.dropline("takeover", "--config", str(other))
    assert (took.code, took.out) == (0, f"{site.state} belongs to {other} now, no longer to {site.config}\n")
    assert site.dropline("run", "--once", "--config", str(other)).code == 0
    assert site.once() == 2


def test_releases_behind_a_link_are_one_configuration(site: "Site") -> None:
    """The path counts as it was given: what it leads to may change, as with releases and ConfigMaps."""
    releases = site.config.parent / "releases"
    link = site.config.with_name("current.toml")
    releases.mkdir()
    for number in (1, 2):
        text = site.config.read_text()
        for key, name in (("state_dir", "state"), ("watch", "inbox"), ("path", "share")):
            text = text.replace(f'"{key}" = "{name}"', f'"{key}" = "{site.config.with_name(name)}"')
        (releases / f"{number}.toml").write_text(text)
        link.unlink(missing_ok=True)
        link.symlink_to(releases / f"{number}.toml")
        assert site.dropline("run", "--once", "--config", str(link)).code == 0
        assert site.dropline("run", "--once", "--config", str(releases / f"{number}.toml")).code == 0
