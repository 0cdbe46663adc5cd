# SPDX-License-Identifier: Apache-2.0
"""The files that decide who may do what, held against each other: bus policy, polkit, activation and unit."""

from __future__ import annotations

import configparser
import re
import xml.etree.ElementTree as ET
from pathlib import Path

DBUS = Path(__file__).resolve().parents[2] / "dbus"
SYSTEMD = DBUS.parent / "systemd"
NAME = "org.missiond.Agent1"
SHARING = f"{NAME}.Sharing"
STANDARD = {
    f"org.freedesktop.DBus.{name}" for name in ("Introspectable", "Peer", "Properties", "ObjectManager")
}


def _policies(name: str = NAME) -> dict[str, ET.Element]:
    """Return the policy elements by whom they are for."""
    root = ET.parse(DBUS / f"{name}.conf").getroot()
    return {next(iter(policy.attrib.values())): policy for policy in root.iter("policy")}


def test_every_interface_may_be_called_and_nothing_else() -> None:
    """The default context denies all, then allows the standard interfaces and those of the XML files."""
    ours = {
        interface.attrib["name"]
        for file in DBUS.glob(f"{NAME}.*.xml")
        for interface in ET.parse(file).getroot().iter("interface")
    }
    deny, *allows = _policies()["default"]
    assert (deny.tag, deny.attrib) == ("deny", {"send_destination": NAME})
    assert {rule.tag for rule in allows} == {"allow"}
    assert {rule.attrib["send_interface"] for rule in allows} == STANDARD | ours - {SHARING}


def test_only_the_peer_unit_and_root_learn_what_is_shared() -> None:
    """Everybody else is refused by the bus already."""
    allowed = {
        who
        for who, policy in _policies().items()
        for rule in policy
        if rule.attrib.get("send_interface") == SHARING
    }
    assert allowed == {"missiond-peers", "root"}


def test_the_peer_unit_may_do_nothing_else() -> None:
    """It may ask what is shared, and signal what it knows."""
    unit = {
        (rule.tag, rule.attrib["send_interface"], rule.attrib.get("send_type", "any"))
        for rule in _policies()["missiond-peers"]
    }
    assert unit == {("allow", SHARING, "any"), ("allow", "org.missiond.Peers1", "signal")}


def test_every_allow_names_the_destination() -> None:
    """An allow without it would open every other service of the bus as well."""
    rules = [rule for policy in _policies().values() for rule in policy if "own" not in rule.attrib]
    assert {rule.attrib["send_destination"] for rule in rules} == {NAME}


def test_only_the_service_user_may_own_the_name() -> None:
    """Otherwise anybody could answer in the agent's place."""
    owners = {who for who, policy in _policies().items() for rule in policy if "own" in rule.attrib}
    assert owners == {"missiond"}


def test_polkit_actions_and_their_defaults() -> None:
    """The table of the D-Bus contract: any, inactive, active."""
    table = {
        "keep-background-running": ("yes", "yes", "yes"),
        "inhibit-handle-lid-switch": ("auth_admin", "auth_admin", "yes"),
        "manage-missions": ("auth_admin", "auth_admin", "yes"),
        "distributed-datasync": ("auth_admin", "auth_admin", "auth_self_keep"),
        "manage-peers": ("auth_admin", "auth_admin", "auth_admin_keep"),
        "manage-others": ("auth_admin", "auth_admin", "auth_admin_keep"),
    }
    actions = list(ET.parse(DBUS / f"{NAME}.policy").getroot().iter("action"))
    found = {
        action.attrib["id"].removeprefix(f"{NAME}."): tuple(
            default.text for default in action.findall("defaults/*")
        )
        for action in actions
    }
    assert found == table
    for action in actions:  # without it polkit answers a service that is not root about its own user only
        owner = action.find("annotate[@key='org.freedesktop.policykit.owner']")
        assert owner is not None
        assert owner.text == "unix-user:missiond"


def test_the_agent_may_do_exactly_what_it_does() -> None:
    """A lock on shutdown is for an administrator to allow."""
    text = (DBUS / "50-missiond.rules").read_text()
    assert set(re.findall(r'"(org\.[\w.-]+)"', text)) == {
        "org.freedesktop.login1.inhibit-block-sleep",
        "org.freedesktop.login1.inhibit-block-idle",
        "org.freedesktop.login1.inhibit-handle-lid-switch",
        "org.freedesktop.systemd1.manage-units",
    }


def test_the_agent_may_manage_one_kind_of_unit() -> None:
    """Whoever may start or stop any unit, or make one, is root."""
    text = (DBUS / "50-missiond.rules").read_text()
    start = text.index("manage-units")
    rule = text[start : text.index("return polkit.Result.YES", start)]
    [pattern] = re.findall(r"/(\^.*\$)/\.test\(action\.lookup\(\"unit\"\)\)", rule)
    assert re.match(pattern, "missiond-keep@1000.service")
    for other in ("missiond-keep@0.service", "missiond-keep@1000.service.d", "xmissiond-keep@1.service", ""):
        assert not re.match(pattern, other)
    assert re.findall(r'lookup\("verb"\) === "(\w+)"', rule) == ["start", "stop"]


def test_activation_starts_the_unit() -> None:
    """The bus asks systemd, by a name that disabling takes away; it never runs anything itself."""
    activation = configparser.ConfigParser()
    activation.read(DBUS / f"{NAME}.service")
    section = activation["D-BUS Service"]
    assert (section["Name"], section["SystemdService"], section["Exec"]) == (
        NAME,
        f"dbus-{NAME}.service",
        "/bin/false",
    )
    unit = (SYSTEMD / "missiond.service").read_text()
    assert f"\nAlias={section['SystemdService']}\n" in unit
    assert f"\nBusName={NAME}\n" in unit
    assert f"\nUser={section['User']}\n" in unit


def test_only_the_agent_and_root_may_call_the_peer_unit() -> None:
    """It asks nobody for permission: the agent has done that."""
    peers = "org.missiond.Peers1"
    policies = _policies(peers)
    assert set(policies) == {"missiond-peers", "default", "missiond", "root"}
    assert [rule.attrib for rule in policies["missiond-peers"]] == [{"own": peers}]
    assert [(rule.tag, rule.attrib) for rule in policies["default"]] == [
        ("deny", {"send_destination": peers})
    ]
    for who in ("missiond", "root"):
        assert {(rule.tag, rule.attrib["send_destination"]) for rule in policies[who]} == {("allow", peers)}
    unit = (SYSTEMD / "missiond-peers.service").read_text()
    assert f"\nBusName={peers}\n" in unit
    assert "\nUser=missiond-peers\n" in unit
