# SPDX-License-Identifier: Apache-2.0
"""A host's only repository of packages, a directory on it, and packages with one program each."""

from __future__ import annotations

from hosts.machine import Host

PROGRAM = "#!/bin/sh\nexec sleep 600\n"
_PLACE = "/srv/packages"
_BEGIN = f"""
set -e
mkdir -p {_PLACE}
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
"""
_LIST = "/etc/apt/sources.list.d/test.list"
_ADD = f"""
set -e
package=$1 program=$2
cd {_PLACE}
mkdir -p new/DEBIAN new/usr/bin
printf '%s: %s\\n' Package "$package" Version 1.0 Architecture all Maintainer 'T <t@example.org>' \\
    Provides "$package-like" Description test >new/DEBIAN/control
printf '#!/bin/sh\\n%s\\n' "$3" >new/DEBIAN/postinst
cat >"new/usr/bin/$program"
chmod 755 new/DEBIAN/postinst "new/usr/bin/$program"
dpkg-deb --build --root-owner-group new "$package.deb"
rm -r new
{{
    dpkg-deb --field "$package.deb"
    echo "Filename: ./$package.deb"
    echo "Size: $(stat --format=%s "$package.deb")"
    echo "SHA256: $(sha256sum "$package.deb" | cut -d' ' -f1)"
    echo
}} >>Packages
apt-get update --quiet
"""


class Repository:
    """From now on the host's only one."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.run(["sh", "-c", _BEGIN])
        host.run(["touch", f"{_PLACE}/Packages"])
        self.trust("trusted=yes")

    def trust(self, option: str) -> None:
        """Have apt read it so: `trusted=yes`, or `allow-insecure=yes`, which shows what is not trusted."""
        self._host.run(["tee", _LIST], stdin=f"deb [{option}] file://{_PLACE} ./\n")
        self._host.run(["apt-get", "update", "--quiet"])

    def add(self, package: str, program: str = "", script: str = "") -> str:
        """Add a package with /usr/bin/`program` (its name, unless given), and its postinst; the path.

        It also provides PACKAGE-like.
        """
        name = program or package
        self._host.run(["sh", "-c", _ADD, "add", package, name, script], stdin=PROGRAM)
        return f"/usr/bin/{name}"

    def status(self, package: str) -> str:
        """What dpkg has of it: `installed`, `half-configured`, … or nothing."""
        words = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
        return self._host.run(words, check=False).stdout

    def purge(self, package: str) -> None:
        """Remove it, whatever its state, from the host."""
        self._host.run(["dpkg", "--purge", "--force-all", package])
