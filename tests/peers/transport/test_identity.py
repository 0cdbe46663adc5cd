# SPDX-License-Identifier: Apache-2.0
"""The key and certificate of this host: made once, and never made anew by accident."""

from __future__ import annotations

import hashlib
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.peers import IDENTITY as FILE
from missiond.peers import make_identity
from missiond.peers.transport.certificate import BadCertificate, check, is_device_id, subject
from missiond.peers.transport.identity import IdentityError, load
from missiond.store.machine import MARK, set_aside_copies

AGENT = Path(__file__).parents[3] / "agent"


def test_it_is_made_once_and_for_this_unit_alone(tmp_path: Path) -> None:
    assert make_identity.main([str(tmp_path)]) == 0
    first = load(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert make_identity.main([str(tmp_path)]) == 0
    assert load(tmp_path) == first
    assert first.device_id == hashlib.sha256(first.certificate).hexdigest()
    assert is_device_id(first.device_id)
    assert {file.name for file in tmp_path.iterdir()} <= {FILE, MARK}


@pytest.mark.slow
def test_it_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "missiond.peers.make_identity", str(tmp_path)]
    subprocess.run(command, cwd=AGENT, check=True, timeout=15)
    load(tmp_path)
    done = subprocess.run(command[:-1], cwd=AGENT, check=False, timeout=15, capture_output=True)
    assert done.returncode == 2


@pytest.mark.parametrize(
    "content", ["", "rubbish", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_one_is_left_alone(tmp_path: Path, content: str) -> None:
    """The unit says so, and stays down until people have done something."""
    (tmp_path / FILE).write_text(content)
    assert make_identity.main([str(tmp_path)]) == 0
    assert (tmp_path / FILE).read_text() == content
    with pytest.raises(IdentityError, match="pair again"):
        load(tmp_path)


def test_a_clone_makes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = tmp_path / "machine-id"
    monkeypatch.setattr(set_aside_copies, "__defaults__", (machine,))
    place = tmp_path / "state"
    place.mkdir()
    machine.write_text("a" * 32 + "\n")
    assert make_identity.main([str(place)]) == 0
    first = load(place)
    (place / "peers").mkdir()
    (place / "peers" / "x.json").write_text("{}")
    assert make_identity.main([str(place)]) == 0
    assert load(place) == first
    assert capsys.readouterr().err == ""
    machine.write_text("b" * 32 + "\n")
    for _ in range(2):
        assert make_identity.main([str(place)]) == 0
    second = load(place)
    assert second.device_id != first.device_id
    assert not (place / "peers").exists()
    assert load(place / "copied-1").device_id == first.device_id
    assert capsys.readouterr().err.count("another machine") == 1


@pytest.mark.slow
def test_cut_at_any_length_it_is_refused(tmp_path: Path) -> None:
    whole = make_identity.make()
    for length in range(len(whole.rstrip())):
        (tmp_path / FILE).write_bytes(whole[:length])
        with pytest.raises(IdentityError, match="pair again"):
            load(tmp_path)


def test_no_directory_and_no_file(tmp_path: Path) -> None:
    assert make_identity.main([str(tmp_path / "missing")]) == 1
    with pytest.raises(IdentityError, match="make_identity"):
        load(tmp_path)


def test_a_file_left_by_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f"{FILE}.tmp").write_text("half")
    assert make_identity.main([str(tmp_path)]) == 0
    load(tmp_path)


def test_no_two_share_a_name() -> None:
    certificates = [certificate() for _ in range(5)]
    assert len({check(each) for each in certificates}) == 5


def certificate(name: str | None = None) -> bytes:
    """Return a new certificate, DER."""
    pem = make_identity.make(name).decode()
    return ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])


def test_more_than_one_certificate_is_refused() -> None:
    with pytest.raises(BadCertificate, match="more than one"):
        check(certificate() + certificate())
    with pytest.raises(BadCertificate, match="at most"):
        check(certificate() * 20)


def test_one_subject_is_one_subject() -> None:
    assert subject(certificate("x")) == subject(certificate("x")) != subject(certificate("y"))


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadCertificate):
        check(data)


@given(st.data())
def test_damaged_certificates_are_refused_or_read(data: st.DataObject) -> None:
    whole = bytearray(_WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    for damaged in (bytes(whole), bytes(whole[: data.draw(st.integers(0, len(whole)))])):
        try:
            subject(damaged)
        except BadCertificate:
            continue


_WHOLE = certificate()
