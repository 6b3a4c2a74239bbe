"""python -m tests.globus SOURCE DESTINATION: the service with two collections, until its input ends or it is interrupted.

Then it prints the requests that came, one JSON document a line.
"""

import json
import sys
from pathlib import Path

from tests.globus.service import Globus


def main(arguments: list[str]) -> int:
    """Print what to put into the environment, then serve."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with Globus(by_itself=True) as service:
        account = {"GLOBUS_CLI_CLIENT_ID": service.account.id, "GLOBUS_CLI_CLIENT_SECRET": str(service.account.secret)}
        for name, value in (service.environment | account).items():
            print(f"export {name}={value}")
        for name, base in zip(("SOURCE", "DESTINATION"), arguments, strict=True):
            print(f"export {name}={service.collection(name.title(), Path(base)).id}")
        print(f"# a native app: {service.app.id}; ends with its input, or with Ctrl-C", flush=True)
        try:
            sys.stdin.read()  # until whoever started us goes away
        except KeyboardInterrupt:
            print(file=sys.stderr)
        for one in service.requests:
            print(json.dumps(one._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
