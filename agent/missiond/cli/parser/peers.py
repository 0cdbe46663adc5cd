# SPDX-License-Identifier: Apache-2.0
"""The command line of `missionctl peers`."""

from __future__ import annotations

import argparse

ACTIONS = ("list", "id", "enable", "disable", "pair", "trust", "unpair", "allow", "disallow")
PERMISSIONS = ("sync", "continue", "none")

TEXT = """\
Show and change the other hosts that this host knows.

  list                            list known hosts (the default)
  id                              show the id of this host, for trust on another one
  enable, disable                 turn peers on or off on this host
  pair [DEVICE]                   pair with a host on the network; without DEVICE, wait for a request
  trust DEVICE [PERMISSION]...    trust a host by its id, without comparing codes
  unpair DEVICE                   end the trust in a host
  allow DEVICE PERMISSION...      give a host permissions: sync (see missions), continue (start programs)
  disallow DEVICE PERMISSION...   take permissions away

DEVICE is an id, its beginning (at least 4 digits), or a name. `allow DEVICE none` takes all permissions away.
"""

_WORDS = {"pair": (0, 1), "trust": (1, 3), "unpair": (1, 1), "allow": (2, 3), "disallow": (2, 3)}
"""How many words may follow an action; none where it is not here."""


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the arguments of `peers`."""
    verb.add_argument(
        "action", nargs="?", choices=ACTIONS, default="list", metavar="ACTION", help="see above"
    )
    verb.add_argument("words", nargs="*", metavar="PEER", help="DEVICE and PERMISSIONs, as above")
    verb.add_argument("--name", metavar="NAME", help="trust: name for the host")
    verb.add_argument("--address", metavar="ADDRESS", help="trust: HOST:PORT of a host that is not announced")
    verb.add_argument("--json", action="store_true", help="list: print JSON, for programs")


def check(arguments: argparse.Namespace) -> str:
    """Return an error sentence about the arguments together; empty for valid arguments."""
    action, words = arguments.action, arguments.words
    least, most = _WORDS.get(action, (0, 0))
    if not least <= len(words) <= most:
        return f"{action} takes {_count(least, most)} after it, not {len(words)}"
    for word in words[1:]:
        if word not in PERMISSIONS:
            return f"{word!r:.40} is none of the permissions {', '.join(PERMISSIONS)}"
    if "none" in words[1:] and (len(words) > 2 or action == "disallow"):
        return "none stands alone, after allow or trust"
    if action != "trust" and (arguments.name is not None or arguments.address is not None):
        return "--name and --address are for trust"
    if action != "list" and arguments.json:
        return "--json is for list"
    return ""


def _count(least: int, most: int) -> str:
    if most == 0:
        return "no words"
    return f"{least} words" if least == most else f"{least} to {most} words"
