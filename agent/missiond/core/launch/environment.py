# SPDX-License-Identifier: Apache-2.0
"""The choice of variables to go along with a mission to another host.

None that makes a program load or run something else than its file says: those that the dynamic linker drops
for set-user-ID programs (glibc's unsecvars.h, ld.so(8)) and their like of shells and interpreters. Nor any
that is about one host, one login or one service: the other host has its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

CAPTURED = re.compile(r"LANG|LANGUAGE|LC_[A-Z]+|TZ|PATH")
"""Variables taken along from a command's environment without asking: language, and places of programs.

No TERM: there is no terminal where it goes on.
"""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_UNSAFE = re.compile(
    # glibc
    r"LD_.*|GCONV_PATH|GETCONF_DIR|GLIBC_TUNABLES|HOSTALIASES|LOCALDOMAIN|LOCPATH|MALLOC_.*|NIS_PATH|NLSPATH"
    r"|RESOLV_HOST_CONF|RES_OPTIONS|TMPDIR|TZDIR"
    # shells
    r"|BASH_.*|BASHOPTS|CDPATH|ENV|IFS|PROMPT_COMMAND|PS[0-4]|SHELLOPTS|ZDOTDIR"
    # interpreters
    r"|PYTHON.*|PERL.*|RUBYLIB|RUBYOPT|NODE_OPTIONS|NODE_PATH|NODE_EXTRA_CA_CERTS|LUA_.*|PHPRC|PHP_.*"
    r"|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|CLASSPATH|GUILE_.*|TCLLIBPATH|ERL_.*"
    # libraries that load modules
    r"|GIO_.*|GTK[0-9]?_.*MODULES|GTK[0-9]?_PATH|GDK_PIXBUF_MODULE.*|QT_.*PLUGIN.*|QML.*IMPORT_PATH|GST_PLUGIN.*|GST_REGISTRY.*"
    r"|OPENSSL_.*|SSLKEYLOGFILE|KRB5_.*|VK_.*|LIBGL_DRIVERS_PATH|FONTCONFIG_.*|XDG_DATA_DIRS|XDG_CONFIG_DIRS"
)
_OF_THIS_HOST = re.compile(
    r"HOME|USER|LOGNAME|SHELL|MAIL|PWD|OLDPWD|SHLVL|_|TERM|COLORTERM|HOSTNAME|HOSTTYPE"
    r"|DISPLAY|WAYLAND_.*|XAUTHORITY|DBUS_.*|DESKTOP_.*|SESSION_MANAGER|SSH_.*|SUDO_.*|GPG_AGENT_INFO"
    r"|XDG_(?:RUNTIME_DIR|SESSION_.*|SEAT.*|VTNR|ACTIVATION_TOKEN)"
    r"|INVOCATION_ID|JOURNAL_STREAM|NOTIFY_SOCKET|WATCHDOG_.*|LISTEN_.*|MAINPID|MANAGERPID|SYSTEMD_.*"
    r"|CREDENTIALS_DIRECTORY|(?:RUNTIME|STATE|CACHE|LOGS|CONFIGURATION)_DIRECTORY|MEMORY_PRESSURE_.*|MISSIOND_.*"
)
_SHOWN = 64


def goes_along(name: str) -> bool:
    """Whether a variable of this name may go to another host."""
    return (
        _NAME.fullmatch(name) is not None
        and _UNSAFE.fullmatch(name) is None
        and _OF_THIS_HOST.fullmatch(name) is None
    )


def sift(entries: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide `NAME=VALUE` entries into movable ones and the names of the others.

    Of several entries with one name the last one counts, as for users of execve(2); the names are
    sorted, without repetitions, printable and short.
    """
    kept: dict[str, str] = {}
    dropped: dict[str, None] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if equals and goes_along(name):
            kept[name] = value
        else:
            dropped["".join(c if c.isprintable() else "?" for c in name[:_SHOWN]) or "?"] = None
    return tuple(f"{name}={value}" for name, value in kept.items()), tuple(sorted(dropped))


def captured(environment: Mapping[str, str]) -> list[str]:
    """Return the CAPTURED part of a command's environment as `NAME=VALUE` in Unicode."""
    return [
        f"{name}={value}"
        for name, value in sorted(environment.items())
        if CAPTURED.fullmatch(name) and not any("\ud800" <= char <= "\udfff" for char in value)
    ]
