"""The property list with which a person makes Dropline a service of macOS. launchd.plist(5).

Written from the manual page; it has never been run on a Mac.
"""

import plistlib

from agent.host.service import Job


def text(job: Job) -> str:
    """The property list."""
    facts = {
        "Label": job.name,
        "ProgramArguments": list(job.words),
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": 10,
        "ExitTimeOut": 20,
        # Else the system slows down the disk of what it takes for background work.
        "ProcessType": "Interactive",
        "WorkingDirectory": "/",
        "HardResourceLimits": {"Core": 0},
        "Umask": 0o027,
    } | ({"UserName": job.user} if job.user is not None else {})
    return plistlib.dumps(facts).decode()


def what_to_do(job: Job) -> str:
    """Where it goes, and how it is started."""
    if job.user is None:
        return (
            f"write this to ~/Library/LaunchAgents/{job.name}.plist, then `launchctl bootstrap gui/UID` with that path"
        )
    return (
        f"write this to /Library/LaunchDaemons/{job.name}.plist, then `sudo launchctl bootstrap system` with that path"
    )
