# SPDX-License-Identifier: Apache-2.0
"""What is kept of peers, and what is made of files that are not as they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from missiond.peers.device import SyncSubscription
from missiond.peers.sync_subscriptions import SyncSubscriptions
from missiond.peers.transport.identity import Identity
from missiond.peers.trust import MOST_PEERS, TrustedPeer, TrustError, TrustStore
from standins.clients.raw_peer import new_identity

A, B = "aa" * 32, "bb" * 32
VERSIONS = (b"0", b"2", b"-1", b"true", b"1.0", b'"1"', b"null")


def reload(store: TrustStore) -> list[TrustedPeer]:
    """What another run would find."""
    other = TrustStore(store._directory)
    other.load()
    return list(other)


@pytest.fixture
def store(tmp_path: Path) -> TrustStore:
    """One that is empty."""
    store = TrustStore(tmp_path / "peers")
    store.load()
    return store


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """Of some device."""
    return new_identity(tmp_path, "device")


def test_peers_are_there_again(store: TrustStore, identity: Identity) -> None:
    full = TrustedPeer(
        identity.device_id, "name\nü", identity.certificate, ("a.example:1", "[::1]:2"), ("continue",),
        "own ü",
    )  # fmt: skip
    for peer in (TrustedPeer(A), full):
        store.put(peer)
    assert sorted(reload(store), key=lambda peer: peer.device_id) == sorted(store, key=lambda p: p.device_id)
    store.remove(A)
    store.remove(A)
    assert reload(store) == [full]
    assert store.certificates() == [identity.certificate]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 20_000, b'{"version":2}',
        b'{"version":1,"name":"x","certificate":7,"addresses":[],"permissions":[]}',
        b'{"version":1,"name":"x","certificate":"!","addresses":[],"permissions":[]}',
        b'{"version":1,"name":"x","certificate":"AAAA","addresses":[],"permissions":[]}',
        b'{"version":1,"name":"x","certificate":null,"addresses":["nowhere"],"permissions":[]}',
        b'{"version":1,"name":"x","certificate":null,"addresses":[],"permissions":["fly"]}',
        b'{"version":1,"name":"x","certificate":null,"addresses":{},"permissions":[]}', b" " * 40_000,
        b'{"version":1,"name":"x","own_name":7,"certificate":null,"addresses":[],"permissions":[]}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_set_aside(
    store: TrustStore, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.put(TrustedPeer(B))
    (store._directory / f"{A}.json").write_bytes(content)
    (store._directory / "notes.json").write_bytes(content)
    (store._directory / f"{A}.json.tmp").write_bytes(content)
    assert reload(store) == [TrustedPeer(B)]
    assert len(caplog.messages) == 2
    left = {file.name for file in store._directory.iterdir()}
    assert left == {f"{B}.json", f"{A}.json.invalid", "notes.json.invalid"}
    assert reload(store) == [TrustedPeer(B)]
    assert len(caplog.messages) == 2


@pytest.mark.slow
def test_cut_at_any_length_and_of_other_versions(
    store: TrustStore, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """One is set aside with a line in the log, the other is still trusted."""
    store.put(TrustedPeer(A))
    store.put(TrustedPeer(identity.device_id, "name", identity.certificate, ("a.example:1",), ("continue",)))
    path = store._directory / f"{identity.device_id}.json"
    whole = path.read_bytes()
    others = [whole.replace(b'"version":1', b'"version":' + other) for other in VERSIONS]
    for content in [*(whole[:length] for length in range(len(whole))), *others]:
        path.write_bytes(content)
        caplog.clear()
        assert reload(store) == [TrustedPeer(A)]
        assert len(caplog.messages) == 1
        assert path.with_name(f"{path.name}.invalid").read_bytes() == content
        caplog.clear()
        assert reload(store) == [TrustedPeer(A)]
        assert caplog.messages == []


def test_the_one_name_that_earlier_releases_kept_is_its_own(store: TrustStore) -> None:
    store.put(TrustedPeer(A, "people's"))
    path = store._directory / f"{A}.json"
    record = json.loads(path.read_bytes())
    assert (record["name"], record.pop("own_name")) == ("people's", "")
    path.write_text(json.dumps(record))
    assert reload(store) == [TrustedPeer(A, own_name="people's")]


def test_a_certificate_of_another_device_is_refused(store: TrustStore, identity: Identity) -> None:
    with pytest.raises(TrustError, match="another device"):
        store.put(TrustedPeer(A, certificate=identity.certificate))
    with pytest.raises(TrustError, match="can't be used"):
        store.put(TrustedPeer(A, certificate=b"rubbish"))
    assert list(store) == reload(store) == []


def test_there_is_an_end_to_trust(store: TrustStore) -> None:
    for number in range(MOST_PEERS):
        store._peers[f"{number:064x}"] = TrustedPeer(f"{number:064x}")
    with pytest.raises(TrustError, match="unpair"):
        store.put(TrustedPeer(A))
    store.put(TrustedPeer(f"{1:064x}", "known already"))


def test_what_cannot_be_saved_does_not_count(store: TrustStore) -> None:
    store._directory.rmdir()
    store._directory.touch()
    with pytest.raises(OSError, match="File exists"):
        store.put(TrustedPeer(A))
    assert list(store) == []


def test_wishes_are_there_again(tmp_path: Path) -> None:
    wishes = SyncSubscriptions(tmp_path / "wishes.json")
    assert wishes.load() == {}
    wishes.set(A, SyncSubscription(7, True))
    wishes.set(B, SyncSubscription(0, False))
    wishes.set(B, None)
    wishes.set(B, None)
    assert SyncSubscriptions(tmp_path / "wishes.json").load() == {A: SyncSubscription(7, True)}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"version":2,"wishes":{}}',
        '{"version":1}',
        *(
            json.dumps({"version": 1, "wishes": wishes})
            for wishes in ({"x": [0, True]}, {A: [0]}, {A: [2**31, True]}, {A: [True, True]}, {A: 1})
        ),
    ],
)
def test_damaged_wishes_are_set_aside(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "wishes.json"
    path.write_text(content)
    assert SyncSubscriptions(path).load() == {}
    assert len(caplog.messages) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["wishes.json.invalid"]


def test_wishes_cut_at_any_length_and_of_other_versions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "wishes.json"
    SyncSubscriptions(path).set(A, SyncSubscription(7, True))
    whole = path.read_bytes()
    others = [whole.replace(b'"version":1', b'"version":' + other) for other in VERSIONS]
    for content in [*(whole[:length] for length in range(len(whole))), *others]:
        path.write_bytes(content)
        caplog.clear()
        wishes = SyncSubscriptions(path)
        assert wishes.load() == {}
        assert len(caplog.messages) == 1
        assert path.with_name(f"{path.name}.invalid").read_bytes() == content
        wishes.set(B, SyncSubscription(1, False))
        assert SyncSubscriptions(path).load() == {B: SyncSubscription(1, False)}


def test_wishes_on_a_full_disk_count_until_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    wishes = SyncSubscriptions(tmp_path / "file" / "wishes.json")
    wishes.set(A, SyncSubscription(0, False))
    assert "can't be saved" in caplog.text
