# SPDX-License-Identifier: Apache-2.0
"""Records that earlier code wrote are read, and written as they were. `tests/data/before` is from 51d967e."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from missiond.core.keepalive.oom_ledger import Protections
from missiond.core.link import messages as link_messages
from missiond.core.pairing import messages as pairing_messages
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.handover.marks import TransferMarks
from missiond.daemon.handover.pending_continuations import PendingContinuations, Requester
from missiond.daemon.keepalive.protected_store import WardFiles
from missiond.daemon.keepalive.restart_store import RestartStore
from missiond.daemon.missions import mission_codec
from missiond.daemon.missions.listener_store import ListenerStore
from missiond.daemon.peering.peer_listener_store import PeerListenerFile
from missiond.daemon.tasks.lease_codec import lease_store
from missiond.peers.device import SyncSubscription
from missiond.peers.sync_subscriptions import SyncSubscriptions
from missiond.peers.trust import TrustStore
from missiond.store.counters import Counters
from missiond.store.handover_log import HandoverFiles
from missiond.store.permitted_devices import PermittedDevices
from missiond.store.record_store import RecordStore

BEFORE = Path(__file__).parents[1] / "data/before"
BUS = "6f1c0000000000000000000000000001"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(BEFORE / "run", tmp_path / "run")
    return tmp_path / "run"


def same(directory: Path, run: Path, kind: str) -> None:
    """See that a directory has the same records as another."""
    there, here = run / kind, directory / kind
    assert [path.name for path in sorted(here.iterdir())] == [path.name for path in sorted(there.iterdir())]
    for path in here.iterdir():
        assert json.loads(path.read_bytes()) == json.loads((BEFORE / "run" / kind / path.name).read_bytes())


def test_leases(run: Path, tmp_path: Path) -> None:
    for kind in (TransientTask.kind, ContinuousTask.kind):
        again = lease_store(RecordStore(tmp_path), kind)
        for number, saved in lease_store(RecordStore(run), kind).load().items():
            again.save(number, saved)
            assert (tmp_path / kind / str(number)).read_bytes() == (run / kind / str(number)).read_bytes()
        same(tmp_path, run, kind)


def test_missions(run: Path, tmp_path: Path) -> None:
    again = RecordStore(tmp_path)
    for number, record in RecordStore(run).load("mission"):
        mission = mission_codec.load(number, record, BUS)
        assert mission.registration is None or mission.registration.connection
        again.save("mission", number, mission_codec.dump(mission, BUS))
        other = mission_codec.load(number, record, "another bus").registration
        assert other is None or not other.connection
    same(tmp_path, run, "mission")


def test_listeners(run: Path, tmp_path: Path) -> None:
    assert ListenerStore(RecordStore(run)).load() == {}
    before, again = ListenerStore(RecordStore(run), BUS), ListenerStore(RecordStore(tmp_path), BUS)
    again.save(before.load())
    same(tmp_path, run, "listener")


def test_listeners_to_peers(run: Path, tmp_path: Path) -> None:
    assert PeerListenerFile(RecordStore(run)).load() == []
    before, again = PeerListenerFile(RecordStore(run), BUS), PeerListenerFile(RecordStore(tmp_path), BUS)
    listeners: dict[str, list[str]] = {}
    for device, name in before.load():
        listeners.setdefault(device, []).append(name)
    again.save(listeners)
    same(tmp_path, run, "peer-listener")


def test_protected_processes(run: Path, tmp_path: Path) -> None:
    protections = Protections()
    wards = WardFiles(RecordStore(run), protections).load()
    assert [(ward.number, ward.pinned, protections.record(ward.number)) for ward in wards] == [
        (2, True, [(4711, 123456, 0, -500), (4712, 123457, 10, -500)]),
        (9, False, []),
    ]
    again = WardFiles(RecordStore(tmp_path), protections)
    assert all(again.write(ward) for ward in wards)
    record = tmp_path / "protection/9"
    written = json.loads(record.read_bytes())
    assert written["scope"] == [5000, 0, []]
    record.write_text(json.dumps(written | {"scope": None}))
    same(tmp_path, run, "protection")


def test_restarted_services(run: Path, tmp_path: Path) -> None:
    again = RestartStore(RecordStore(tmp_path))
    for task, kept in RestartStore(RecordStore(run)).load().items():
        again.save(task, kept)
    same(tmp_path, run, "restart")


def test_marks_of_transfers(run: Path, tmp_path: Path) -> None:
    marks = TransferMarks(RecordStore(run))
    marks.load()
    first, second, third = (marks[f"{number:032}"] for number in (1, 2, 3))
    assert (first.mission, first.pid, first.told) == (5, 4711, True)
    assert (second.identity, second.unit, second.settled) == ("f" * 32, "missiond-x.service", True)
    assert third.failed == "no program"
    marks.settled(f"{2:032}")
    same(run, BEFORE / "run", "handover")


def test_continuations(run: Path, tmp_path: Path) -> None:
    before = PendingContinuations(RecordStore(run), Counters(run / "counters"), BUS)
    before.load()
    assert before.who(1) == Requester(":1.42", 1000)
    before.wait(1, ":1.42", 1000)
    same(run, BEFORE / "run", "continuation")


def test_records_of_hand_overs(tmp_path: Path) -> None:
    shutil.copytree(BEFORE / "state/handover", tmp_path / "before")
    files, again = HandoverFiles(tmp_path / "before"), HandoverFiles(tmp_path / "after")
    found = files.load()
    assert len(found.records) == 3
    assert not found.unreadable
    for identity, fence in found.fences.items():
        again.save_fence(identity, fence)
    for record in found.records:
        again.save(record)
    for path in (BEFORE / "state/handover").iterdir():
        if path.name != f"{3:032}.json":  # of a version before members that are written now
            assert (tmp_path / "after" / path.name).read_bytes() == path.read_bytes()
    files.close()
    again.close()


@pytest.mark.parametrize(("name", "module"), [("link", link_messages), ("pairing", pairing_messages)])
def test_messages(name: str, module: Any) -> None:
    for line in (BEFORE / name).read_bytes().splitlines():
        assert module.serialise(module.parse(line)) == line


def test_permitted_devices(tmp_path: Path) -> None:
    path = tmp_path / "permitted.json"
    shutil.copy(BEFORE / "state/permitted.json", path)
    devices = PermittedDevices(path)
    devices.load()
    assert "ab" * 32 in devices
    devices.set("ef" * 32, permitted=True)
    devices.set("ef" * 32, permitted=False)
    assert json.loads(path.read_bytes()) == json.loads((BEFORE / "state/permitted.json").read_bytes())


def test_trusted_peers(tmp_path: Path) -> None:
    shutil.copytree(BEFORE / "peers/trusted", tmp_path / "before")
    before, again = TrustStore(tmp_path / "before"), TrustStore(tmp_path / "after")
    before.load()
    again.load()
    peers = {peer.device_id: peer for peer in before}
    assert len(peers) == 3
    assert peers["cd" * 32].own_name == "old one"
    for peer in peers.values():
        again.put(peer)
    for path in (BEFORE / "peers/trusted").iterdir():
        written = json.loads((tmp_path / "after" / path.name).read_bytes())
        if path.stem != "cd" * 32:  # of a version before `own_name`
            assert written == json.loads(path.read_bytes())


def test_subscriptions(tmp_path: Path) -> None:
    path = tmp_path / "wishes.json"
    shutil.copy(BEFORE / "peers/wishes.json", path)
    wishes = SyncSubscriptions(path)
    assert wishes.load() == {"ab" * 32: SyncSubscription(-3, True), "cd" * 32: SyncSubscription(0, False)}
    wishes.set("ef" * 32, SyncSubscription(0, True))
    wishes.set("ef" * 32, None)
    assert json.loads(path.read_bytes()) == json.loads((BEFORE / "peers/wishes.json").read_bytes())
