"""`notify`: are people told, and does it arrive?"""

import uuid
from typing import Annotated

import typer

from agent.app.parts import channels, host_name
from agent.cli.options import ConfigOption, configuration, has_ledger
from agent.cli.printing import say
from agent.errors import Refused, Transient
from agent.host.zone import stamp
from agent.ledger import Ledger
from rules.notice.message import trial

commands = typer.Typer()


@commands.command()
def notify(
    config: ConfigOption = None,
    try_it: Annotated[
        bool, typer.Option("--test", help="Send a message by each channel now, and say what came of it.")
    ] = False,
) -> None:
    """The recipients of messages, and what waits to be sent. Exit code 1 where something could not be sent."""
    chosen = configuration(config)
    ways = channels(chosen.settings.notify)
    if not ways:
        hint = "add [notify.email] or [notify.webhook]; docs/RULES.md has the keys"
        raise Refused(f"{chosen.source} has no [notify]: no message is sent", hint)
    for name, channel in ways.items():
        say(f"{name}: {channel.shown}")
    failed = False
    if has_ledger(chosen):
        for _, name, count, _, reason, since in Ledger(str(chosen.ledger)).outbox.messages():
            why = f": {reason}" if reason else ""
            say(f"{name}: {'a message waits' if count == 1 else f'{count} messages wait'} since {stamp(since)}{why}")
            failed = failed or reason is not None
    for name, channel in ways.items() if try_it else ():
        try:
            channel.send(trial(host_name()), uuid.uuid4().hex)
        except (Transient, Refused) as error:
            failed = True
            say(f"{name}: NOT SENT: {error}", err=True)
        else:
            say(f"{name}: sent; look whether it arrived")
    if failed:
        raise typer.Exit(1)
