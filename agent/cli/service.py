"""`service install`, `uninstall` and `status`: Dropline as a service of systemd, or of Windows."""

import os
import sys
from typing import Annotated

import typer

from agent.cli.options import ConfigOption, Format, FormatOption, configuration, state
from agent.cli.printing import print_json, say
from agent.errors import LedgerDamaged, Refused
from agent.host.service import Job, Manager, healthz, plist, systemd
from agent.host.service.job import checked, job
from agent.host.service.programs import Said, run
from agent.host.zone import stamp
from agent.observe.web.authenticator import token
from rules.config.config_error import RuleError

NameOption = Annotated[str, typer.Option("--name", help="Of the service; each configuration needs its own.")]
UserOption = Annotated[
    bool, typer.Option("--user", help="A service of yours, without root, instead of one of the whole computer.")
]

PLATFORM: str = sys.platform
_NAMES = {"darwin": "macOS"}
"""What people call platforms."""

commands = typer.Typer()
group = typer.Typer(no_args_is_help=True, help="Dropline as a service of systemd, or of Windows.")
commands.add_typer(group, name="service")


def manager(person: bool) -> Manager:
    """The service manager of this computer. Raises Refused where there is none.

    `person`: services of the person who asks, not of the computer.
    """
    if PLATFORM == "win32":
        from agent.host.service import scm, tasks  # they need what only Windows has

        return tasks.Tasks(run) if person else scm.Scm(_password)
    if PLATFORM != "linux":
        hint = "run `dropline run` by what your system has for that"
        raise Refused(f"Dropline has no service on {_NAMES.get(PLATFORM, PLATFORM)} yet", hint)
    return systemd.Systemd(run, systemd.of_person() if person else systemd.SYSTEM, person=person)


@group.command()
def install(
    config: ConfigOption = None,
    person: UserOption = False,
    run_as: Annotated[
        str | None,
        typer.Option(
            "--run-as",
            metavar="USER",
            help="The user that a service of the computer runs as; on Windows an account, such as 'NT SERVICE\\dropline'.",
        ),
    ] = None,
    name: NameOption = "dropline",
    show: Annotated[bool, typer.Option("--print", help="Only print what would be installed.")] = False,
) -> None:
    """Install the service and start it, now and with the computer. Again after an edit of the configuration or an upgrade."""
    if person == (run_as is not None):
        raise typer.BadParameter("give --run-as USER for a service of the computer, or --user for one of yours")
    chosen = configuration(config)
    wanted = job(chosen, name, run_as)
    if PLATFORM == "darwin":
        say(*plist.text(wanted).splitlines())
        if show:
            return
        raise Refused("Dropline has no service on macOS yet", plist.what_to_do(wanted))
    who = manager(person)
    if show:
        say(*who.text(wanted).splitlines())
        return
    if not person and PLATFORM == "linux":
        _must_be_administrator()
        _tried(wanted)
    for sentence in who.install(wanted):
        say(sentence)


def _password(account: str) -> str:
    """Of the account that a service of Windows runs as."""
    entered: str = typer.prompt(f"password of {account}", hide_input=True)
    return entered


def _must_be_administrator() -> None:
    if os.geteuid() != 0:
        raise Refused("only root may install a service of the computer", "use sudo, or --user for a service of yours")


def _tried(wanted: Job) -> None:
    """Raises Refused where the user cannot run the program, or read the configuration: nobody would see it later."""
    import pwd  # Windows has none, and no services of this kind

    assert wanted.user is not None, "asked for services of the computer only"
    try:
        pwd.getpwnam(wanted.user)
    except KeyError:
        raise Refused(f"there is no user {wanted.user}", "make it (`useradd --system NAME`), or name another") from None
    try:
        said = run(wanted.program, "check", "--config", wanted.config, user=wanted.user)
    except Refused as error:
        said = Said(2, error.reason)
    if said.code:
        why = said.out.splitlines()[-1] if said.out else f"exit status {said.code}"
        hint = f"let that user read it, {wanted.config}, and the folders that they are in"
        raise Refused(f"as {wanted.user}: {why.removeprefix('dropline: ')}", hint)


@group.command("run", hidden=True)
def run_service(config: ConfigOption = None, name: NameOption = "dropline") -> None:
    """Run the agent as the process of a service or task of Windows, which is connected to its manager already."""
    from agent.host.windows import supervisor

    if PLATFORM != "win32":
        raise Refused("`service run` is for services of Windows", "use `dropline run`")
    try:
        from agent.cli.running import run as run_agent  # what fails in it is reported, too

        run_agent(config)
    except Exception as error:
        supervisor.ended(
            2 if isinstance(error, (RuleError, Refused, LedgerDamaged)) else 1, str(error) or type(error).__name__
        )
        raise
    supervisor.ended(0)


@group.command()
def uninstall(config: ConfigOption = None, person: UserOption = False, name: NameOption = "dropline") -> None:
    """Stop the service and remove it. State and configuration stay."""
    if not person and PLATFORM == "linux":
        _must_be_administrator()
    state(config)
    for sentence in manager(person).uninstall(checked(name)):
        say(sentence)


@group.command()
def status(
    config: ConfigOption = None,
    person: UserOption = False,
    name: NameOption = "dropline",
    form: FormatOption = Format.TEXT,
) -> None:
    """Whether it is installed, whether it runs, since when, and whether all is well. Exit code 1 unless all is."""
    chosen = state(config)
    found = manager(person).condition(checked(name))
    health = healthz(chosen.settings.agent.listen, _token(chosen.settings.agent.token_file)) if found.running else None
    if form is Format.JSON:
        since = {"installed": found.installed, "running": found.running, "since": found.since}
        print_json({"name": name} | since | {"detail": found.detail, "health": health})
    else:
        say(f"{name} is {f'installed: {found.installed}' if found.installed else 'not installed'}")
        when = stamp(found.since) if found.since else ""
        say(f"{f'runs since {when}' if when else 'runs' if found.running else 'does not run'}: {found.detail}")
        if health is not None:
            say(f"health: {health}")
    raise typer.Exit(0 if found.installed and found.running and health in (None, "ok") else 1)


def _token(file: str | None) -> str | None:
    """The page's token."""
    try:
        return None if file is None else token(file)
    except Refused:
        return None  # /healthz then says less
