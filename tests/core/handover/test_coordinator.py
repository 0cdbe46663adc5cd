# SPDX-License-Identifier: Apache-2.0
"""What the coordinator answers, one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from missiond.core.handover import effects as do
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import Effect, Timer
from missiond.core.handover.options import ContinueOptions, HandoverLimits, MovingMission
from missiond.core.handover.record import Phase
from missiond.core.link.checks import BadMessage
from missiond.errors import ContinueInProgress, DistributedServiceFailed, InvalidParameter
from standins.worlds.handover_coordinator import (
    IDENTITY,
    LAUNCH,
    OFFER,
    OTHER,
    PEER,
    PREPARED,
    SHA,
    TERMS,
    T,
    committed,
    coordinator,
    named,
    sending,
    target,
    timers,
)

TASK = {"modes": ["voip"], "context": ""}


def accepted(tasks: str, **body: object) -> tuple[Coordinator, str, list[Effect]]:
    it = coordinator()
    terms = ContinueOptions(continuation=1, tasks=tasks)
    transfer, _ = it.push(PEER, 7, MovingMission(description={}, tasks=(TASK,)), terms)
    return it, transfer, it.received(PEER, transfer, "accepted", body)


@pytest.mark.parametrize(("tasks", "sent"), [("with", [TASK]), ("require", [TASK]), ("without", None)])
def test_tasks_are_offered(tasks: str, sent: object) -> None:
    it = coordinator()
    terms = ContinueOptions(continuation=1, tasks=tasks)
    _, effects = it.push(PEER, 7, MovingMission(description={}, along={"x": 1}, tasks=(TASK,)), terms)
    [offer] = [each for each in effects if isinstance(each, do.Send)]
    assert (offer.body["along"].get("tasks"), offer.body["along"]["x"]) == (sent, 1)
    assert offer.body["tasks"] == tasks


def test_tasks_stay_behind_where_the_other_host_knows_nothing_of_them() -> None:
    it, transfer, effects = accepted("with")
    assert named(effects) == ["AskOwner"]
    it.owner_answered(transfer, True)
    it.state_captured(transfer, 3, SHA)
    it.received(PEER, transfer, "prepared", PREPARED)
    it.mission_stopped(transfer)
    ended = it.received(PEER, transfer, "started", {"identity": IDENTITY, "fence": 1})
    [told] = [each for each in ended if isinstance(each, do.TellDone)]
    assert (told.code, "too old" in told.reason) == (0, True)
    _, _, effects = accepted("require")
    [told] = [each for each in effects if isinstance(each, do.TellDone)]
    assert (told.code, "too old" in told.reason) == (16300501, True)
    assert named(accepted("require", along=True)[2]) == ["AskOwner"]
    assert named(accepted("without")[2]) == ["AskOwner"]


@pytest.mark.parametrize(
    ("umask", "knows", "said"), [(0o077, False, True), (0o077, True, False), (0o022, False, False)]
)
def test_an_umask_that_stays_behind_is_said_where_others_could_read(
    umask: int, knows: bool, said: bool
) -> None:
    it = coordinator()
    transfer, _ = it.push(PEER, 7, MovingMission(description={}, along={"umask": umask}), TERMS)
    it.received(PEER, transfer, "accepted", {"along": True} if knows else {})
    it.owner_answered(transfer, True)
    it.state_captured(transfer, 3, SHA)
    it.received(PEER, transfer, "prepared", PREPARED)
    it.mission_stopped(transfer)
    ended = it.received(PEER, transfer, "started", {"identity": IDENTITY, "fence": 1})
    [told] = [each for each in ended if isinstance(each, do.TellDone)]
    assert (told.code, "umask" in told.reason) == (0, said)


def test_every_message_comes_after_the_write_that_it_stands_for() -> None:
    it = coordinator()
    transfer, effects = it.push(PEER, 7, LAUNCH, TERMS)
    assert named(effects) == ["Write offered", "Send offer"]
    assert timers(effects) == {Timer.OVERALL: 20_000, Timer.RETRY: 2_000}
    effects = it.received(PEER, transfer, "accepted", {})
    assert named(effects) == ["AskOwner"]
    assert timers(effects) == {Timer.ANSWER: 10_000}
    assert timers(it.owner_answered(transfer, True)) == {Timer.ANSWER: None}
    effects = it.state_captured(transfer, 3, SHA)
    assert named(effects) == ["Send state", "SendState"]
    assert timers(effects)[Timer.STALL] == 20_000
    assert timers(effects)[Timer.OVERALL] is None
    assert named(it.received(PEER, transfer, "prepared", PREPARED)) == ["Write stopping", "StopMission"]
    assert named(it.mission_stopped(transfer)) == ["Write committed", "Send commit"]
    effects = it.received(PEER, transfer, "started", {"identity": IDENTITY, "fence": 1})
    assert named(effects) == ["Write ended", "SaveFence", "TellDone", "Remove", "Send settled"]
    assert isinstance(effects[-1], do.ForgetTransfer)
    assert it.in_flight() == []


def test_the_target_starts_only_after_its_commit_is_written() -> None:
    it = coordinator()
    assert named(it.received(PEER, T, "offer", OFFER)) == ["Check"]
    assert named(it.checked(T)) == ["Send accepted"]
    effects = it.received(PEER, T, "state", {"size": 3, "sha256": SHA, "resume": False})
    assert named(effects) == ["ReceiveState"]
    assert named(it.state_complete(T)) == ["Write prepared", "Send prepared"]
    assert named(it.received(PEER, T, "commit", {"fence": 3})) == ["Write committed", "StartUnit committed"]
    assert named(it.unit_started(T)) == ["Write started", "Send started"]
    assert named(it.received(PEER, T, "settled", {})) == ["SaveFence", "Remove"]


@pytest.mark.parametrize("resume", [0, 2, 3])
def test_a_broken_link_goes_on_where_it_was(resume: int) -> None:
    it, transfer = sending()
    it.link(PEER, False)
    sent = it.link(PEER, True)
    assert named(sent) == ["Send state"]
    assert isinstance(sent[0], do.Send)
    assert sent[0].body["resume"] is True
    effects = it.received(PEER, transfer, "received", {"offset": resume})
    assert do.SendState(transfer, PEER, resume) in effects


def test_in_doubt_it_asks_ever_more_seldom_and_sleeps_without_a_link() -> None:
    it, transfer = committed()
    waits = []
    for _ in range(9):
        effects = it.timer_expired(transfer, Timer.RETRY)
        assert named(effects) == ["Send commit"]
        waits.append(timers(effects)[Timer.RETRY])
    assert waits == [2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000, 60000]
    assert timers(it.link(PEER, False)) == {Timer.RETRY: None}
    effects = it.link(PEER, True)
    assert named(effects) == ["Send commit"]
    assert timers(effects) == {Timer.RETRY: 1000}
    (found,) = it.in_flight()
    assert found.in_doubt
    assert found.can_reclaim


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.STARTED, Phase.FAILED])
def test_a_target_in_doubt_asks_too(phase: Phase) -> None:
    it = Coordinator(lambda: T)
    assert timers(it.load([target(phase)], {})) == {}
    effects = it.link(PEER, True)
    assert timers(effects) == {Timer.RETRY: 1000}
    (found,) = it.in_flight()
    assert found.in_doubt == (phase is Phase.PREPARED)
    assert not found.can_reclaim


@pytest.mark.parametrize("timer", list(Timer))
def test_time_never_makes_a_target_drop_what_is_prepared(timer: Timer) -> None:
    it = coordinator(target(Phase.PREPARED))
    assert "Remove" not in named(it.timer_expired(T, timer))
    assert it.in_flight()


@pytest.mark.parametrize(
    ("step", "body"), [("unknown", {}), ("abort", {"code": 16300501, "reason": "", "fence": 3})]
)
def test_the_source_s_word_does(step: str, body: dict[str, Any]) -> None:
    it = coordinator(target(Phase.PREPARED))
    assert "Remove" in named(it.received(PEER, T, step, body))


def test_repeats_get_the_recorded_answer() -> None:
    offer = ("offer", OFFER)
    state = ("state", {"size": 3, "sha256": SHA, "resume": True})
    commit = ("commit", {"fence": 3})
    for phase, answer in (
        (Phase.PREPARED, "prepared"),
        (Phase.STARTED, "started"),
        (Phase.FAILED, "refused"),
    ):
        for step, body in (offer, state) if phase is Phase.PREPARED else (offer, state, commit):
            it = coordinator(target(phase))
            assert named(it.received(PEER, T, step, body)) == [f"Send {answer}"]


def test_one_transfer_for_a_mission_at_a_time() -> None:
    it = coordinator()
    it.push(PEER, 7, LAUNCH, TERMS)
    with pytest.raises(ContinueInProgress):
        it.push(PEER, 7, LAUNCH, TERMS)
    it.push(PEER, 8, LAUNCH, TERMS)
    pull = {"mission": 7, "app_id": "", "want": {}, "keep_source": False, "free_install": False}
    (refusal,) = it.received(PEER, T, "pull", pull)
    assert isinstance(refusal, do.Send)
    assert (refusal.step, refusal.body["code"]) == ("refused", 16300506)
    it.pull(PEER, 9, "", TERMS)
    with pytest.raises(ContinueInProgress):
        it.pull(PEER, 9, "", TERMS)


def test_an_offer_of_a_mission_that_is_under_way_or_was_here_later_is_refused() -> None:
    it = coordinator(target(Phase.PREPARED))
    refusal = it.received(PEER, "f" * 32, "offer", OFFER | {"fence": 9})
    assert [effect.body["code"] for effect in refusal if isinstance(effect, do.Send)] == [16300506]
    it = coordinator(fences={IDENTITY: 3})
    refusal = it.received(PEER, T, "offer", OFFER)
    assert [effect.body["fence"] for effect in refusal if isinstance(effect, do.Send)] == [3]
    assert it.in_flight() == []


def test_a_source_learns_the_fence_that_it_has_forgotten() -> None:
    it = coordinator()
    launch = replace(LAUNCH, identity=IDENTITY)
    transfer, _ = it.push(PEER, 7, launch, TERMS)
    effects = it.received(PEER, transfer, "refused", {"code": 16300501, "reason": "", "fence": 41})
    assert do.SaveFence(transfer, IDENTITY, 41) in effects
    _, effects = it.push(PEER, 7, launch, TERMS)
    assert [effect.body["fence"] for effect in effects if isinstance(effect, do.Send)] == [42]


def test_a_copy_is_a_mission_of_its_own() -> None:
    it = coordinator(fences={IDENTITY: 5})
    _, effects = it.push(PEER, 7, replace(LAUNCH, identity=IDENTITY), replace(TERMS, keep_source=True))
    (offer,) = (effect.body for effect in effects if isinstance(effect, do.Send))
    assert offer["identity"] != IDENTITY
    assert offer["fence"] == 1


def test_nothing_is_said_about_a_transfer_whose_record_is_damaged() -> None:
    it = Coordinator(lambda: "0" * 32)
    it.load([], {}, [T])
    it.link(PEER, True)
    assert it.received(PEER, T, "prepared", PREPARED) == []
    (found,) = it.in_flight()
    assert found.in_doubt
    assert not found.can_reclaim


@pytest.mark.parametrize("step", ["unknown", "settled", "abort", "made-up"])
def test_what_is_said_last_is_never_answered(step: str) -> None:
    body = {"code": 1, "reason": "", "fence": 1}
    assert coordinator().received(PEER, T, step, body) == []


def test_a_peer_makes_this_host_hold_only_so_much() -> None:
    it = coordinator(limits=HandoverLimits(per_peer=2))
    for number in range(3):
        body = OFFER | {"identity": f"{number:032x}"}
        effects = it.received(PEER, f"{number:032d}", "offer", body)
        assert named(effects) == (["Check"] if number < 2 else ["Send refused"])
    assert named(
        it.received(
            PEER,
            "3" * 32,
            "pull",
            {"mission": 1, "app_id": "", "want": {}, "keep_source": False, "free_install": False},
        )
    ) == ["Send refused"]
    assert named(it.received(OTHER, T, "offer", OFFER)) == ["Check"]


@pytest.mark.parametrize(
    ("peer", "transfer", "step", "body"),
    [
        (OTHER, T, "commit", {"fence": 3}),
        (PEER, "E" * 32, "commit", {"fence": 3}),
        (PEER, "../" + "e" * 29, "unknown", {}),
        (PEER, T, "commit", {}),
        (PEER, T, "commit", {"fence": True}),
        (PEER, T, "commit", {"fence": 4}),
        (PEER, T, "prepared", PREPARED),
        (PEER, T, "offer", OFFER | {"fence": 0}),
        (PEER, T, "offer", OFFER | {"want": {"a": "x" * 100_001}}),
        (PEER, T, "offer", OFFER | {"want": {"a": float("nan")}}),
        (PEER, T, "offer", OFFER | {"identity": "x"}),
        (PEER, T, "abort", {"code": 1, "reason": "a\0", "fence": 1}),
    ],
)
def test_what_no_well_made_peer_says_changes_nothing(
    peer: str, transfer: str, step: str, body: dict[str, Any]
) -> None:
    it = coordinator(target(Phase.PREPARED))
    before = it.in_flight()
    with pytest.raises(BadMessage):
        it.received(peer, transfer, step, body)
    assert it.in_flight() == before


def test_a_target_that_claims_too_early_is_not_believed() -> None:
    it, transfer = sending()
    with pytest.raises(BadMessage):
        it.received(PEER, transfer, "started", {"identity": IDENTITY, "fence": 1})
    with pytest.raises(BadMessage):
        it.received(PEER, transfer, "prepared", PREPARED | {"sha256": "6" * 64})


def test_calls_that_cannot_be_done() -> None:
    it = coordinator()
    with pytest.raises(InvalidParameter, match="want_param"):
        it.push(PEER, 7, LAUNCH, replace(TERMS, want={"a": "x" * 100_000}))
    with pytest.raises(DistributedServiceFailed, match="not connected"):
        it.push(OTHER, 7, LAUNCH, TERMS)
    with pytest.raises(DistributedServiceFailed, match="not connected"):
        it.pull(OTHER, 7, "", TERMS)
    with pytest.raises(DistributedServiceFailed, match="did not allow"):
        it.push(PEER, 7, replace(LAUNCH, has_owner=False), TERMS)
    for what in (it.reclaim, it.drop):
        with pytest.raises(InvalidParameter, match="no transfer"):
            what(T)
    with pytest.raises(InvalidParameter, match="asks for this state"):
        it.owner_answered(T, True)
    transfer, _ = it.push(PEER, 7, LAUNCH, TERMS)
    with pytest.raises(InvalidParameter, match="not in doubt"):
        it.reclaim(transfer)
    assert len(it.in_flight()) == 1


def test_an_owner_answers_once_and_in_time() -> None:
    it = coordinator()
    transfer, _ = it.push(PEER, 7, replace(LAUNCH, relaunch=True), TERMS)
    it.received(PEER, transfer, "accepted", {})
    assert named(it.timer_expired(transfer, Timer.ANSWER)) == ["CaptureContext"]
    with pytest.raises(InvalidParameter):
        it.owner_answered(transfer, False)


def test_what_is_prepared_can_be_dropped_by_hand_and_the_source_keeps_what_it_has() -> None:
    it = coordinator(target(Phase.PREPARED))
    assert named(it.drop(T)) == ["SaveFence", "Remove", "Send refused"]
    it = coordinator(target(Phase.COMMITTED))
    with pytest.raises(InvalidParameter, match="cannot be dropped"):
        it.drop(T)


def test_what_could_not_be_started_again_can_be_dropped_by_hand() -> None:
    it, transfer = committed()
    with pytest.raises(InvalidParameter, match="reclaim it here"):
        it.drop(transfer)
    it.reclaim(transfer)
    with pytest.raises(InvalidParameter, match="reclaim it here"):
        it.drop(transfer)
    it.restarted(transfer, 16300501, "no interpreter")
    assert it.in_flight()[0].can_reclaim
    assert "Remove" in named(it.drop(transfer))
    assert it.in_flight() == []


def test_unknown_after_commit_leaves_it_in_doubt() -> None:
    it, transfer = committed()
    assert it.received(PEER, transfer, "unknown", {}) == []
    assert "does not know" in it.in_flight()[0].record.reason
    assert named(it.reclaim(transfer)) == ["Write restarting", "RestartHere restarting", "Send abort"]


def test_reports_that_come_too_late_have_no_effects() -> None:
    it = coordinator()
    assert (
        it.checked(T) == it.state_captured(T, 1, SHA) == it.state_failed(T, "") == it.state_sent(T, 1) == []
    )
    assert (
        it.state_received(T, 1) == it.state_complete(T) == it.mission_stopped(T) == it.unit_started(T) == []
    )
    assert (
        it.restarted(T)
        == it.stop_failed(T, "")
        == it.timer_expired(T, Timer.RETRY)
        == it.mission_ended(7)
        == []
    )
    assert it.not_resolved(T, 1, "") == it.resolved(T, 7, LAUNCH, 1) == []
