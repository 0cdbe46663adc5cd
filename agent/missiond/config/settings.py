# SPDX-License-Identifier: Apache-2.0
"""Settings of missiond, each key declared once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from missiond.config.parameters import Parameter, mapping_setting, parameters_of, setting
from missiond.config.value_types import (
    ADDRESSES,
    BYTES,
    LOCKS,
    PERCENT,
    SERVICES,
    SHARERS,
    SPAN,
    UIDS,
    Flag,
    Number,
    UserTable,
)
from missiond.core.tasks.modes import BackgroundMode

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


@dataclass(frozen=True, slots=True)
class TransientSettings:
    """Transient tasks: short delays of sleep, with a quota."""

    max_requests: int = setting(
        "MaxRequests", Number(1, 100), "3", "How many requests of one application may live at the same time."
    )
    max_delay_ms: int = setting(
        "MaxDelay", Number(1000, _DAY, SPAN), "3min", "The longest time one request may last."
    )
    low_battery_max_delay_ms: int = setting(
        "LowBatteryMaxDelay",
        Number(1000, _DAY, SPAN),
        "1min",
        "The longest time one request may last while the battery is low. Not above MaxDelay=.",
    )
    quota_ms: int = setting(
        "Quota",
        Number(1000, 30 * _DAY, SPAN),
        "10min",
        "The time that all requests of one application may last together in any QuotaPeriod=.",
    )
    quota_period_ms: int = setting(
        "QuotaPeriod",
        Number(_MINUTE, 30 * _DAY, SPAN),
        "24h",
        "The length of the rolling period to which Quota= applies.",
    )
    minimum_quota_ms: int = setting(
        "MinimumQuota",
        Number(0, _HOUR, SPAN),
        "16s",
        "A request is refused when less than this is left of the quota. Not above Quota=.",
    )
    warning_time_ms: int = setting(
        "WarningTime",
        Number(0, _HOUR, SPAN),
        "6s",
        "How long before the end of a request its owner is told. Not above LowBatteryMaxDelay=.",
    )
    what: tuple[str, ...] = setting(
        "What",
        LOCKS,
        "sleep",
        "What the lock of a transient task holds back, in the words of systemd-inhibit(1).",
    )


@dataclass(frozen=True, slots=True)
class BatterySettings:
    """Levels of a discharging battery, in percent of all system batteries together."""

    low_percent: int = setting(
        "LowPercent",
        Number(0, 100, PERCENT),
        "20",
        "The battery is low at or under this charge while it discharges.",
    )
    low_hysteresis: int = setting(
        "LowHysteresis",
        Number(0, 50, PERCENT),
        "2",
        "The battery is no longer low above LowPercent= plus this, or when it no longer discharges.",
    )
    critical_percent: int = setting(
        "CriticalPercent",
        Number(0, 100, PERCENT),
        "5",
        "At or under this charge, while discharging, every lock is released and nothing new is granted: "
        "requests end, and continuous tasks are suspended. Not above LowPercent=.",
    )
    critical_hysteresis: int = setting(
        "CriticalHysteresis",
        Number(0, 50, PERCENT),
        "2",
        "The battery is no longer critical above CriticalPercent= plus this, or when it does not discharge; "
        "suspended tasks go on then.",
    )


_ABOUT = {
    BackgroundMode.DATA_TRANSFER: "uploads and downloads",
    BackgroundMode.AUDIO_PLAYBACK: "playing sound",
    BackgroundMode.AUDIO_RECORDING: "recording sound",
    BackgroundMode.LOCATION: "positioning and navigation",
    BackgroundMode.BLUETOOTH_INTERACTION: "talking to Bluetooth devices",
    BackgroundMode.MULTI_DEVICE_CONNECTION: "working with other hosts",
    BackgroundMode.WIFI_INTERACTION: "talking over Wi-Fi",
    BackgroundMode.VOIP: "calls",
    BackgroundMode.TASK_KEEPING: "computing",
}


def _what_of(mode: BackgroundMode) -> Parameter:
    return Parameter(
        key=mode.item[0].upper() + mode.item[1:],
        kind=LOCKS,
        default="sleep:idle" if mode is BackgroundMode.VOIP else "sleep",
        doc=f"What the lock of a continuous task of mode {mode.item} ({_ABOUT[mode]}) holds back.",
        item=mode.item,
    )


@dataclass(frozen=True, slots=True)
class ContinuousSettings:
    """Continuous tasks: work until stopped."""

    max_tasks_per_user: int = setting(
        "MaxTasksPerUser",
        Number(1, 100_000),
        "1000",
        "How many continuous tasks one user may have, together with the uids that subuid(5) gives them. "
        "Root has no such limit.",
    )
    what: Mapping[str, tuple[str, ...]] = mapping_setting(tuple(_what_of(mode) for mode in BackgroundMode))


@dataclass(frozen=True, slots=True)
class MissionsSettings:
    """Missions: running programs of people on this host."""

    minimum_uid: int = setting(
        "MinimumUid",
        Number(1, 2**32 - 2),
        "1000",
        "The lowest uid that belongs to a person. None are people's that systemd keeps for services (60514 "
        "to 65535). From 65536 on those are that the user database has a name for, as for users of "
        "directories; those without a name are uids of containers. "
        "A change takes effect at the next start.",
    )
    users: tuple[int, ...] = setting(
        "Users",
        UIDS,
        "none",
        "Further users whose programs are missions, such as 0. A change takes effect at the next start.",
    )
    services: tuple[str, ...] = setting(
        "Services",
        SERVICES,
        "none",
        "Services of the host that are missions, too. A change takes effect at the next start.",
    )
    max_missions: int = setting(
        "MaxMissions",
        Number(1, 1_000_000),
        "10000",
        "How many missions are shown on this host. No user has more than half of what others leave, the last "
        "quarter is for users with few, and the last sixteenth for root. Each takes a file descriptor "
        "(LimitNOFILE= of the service).",
    )
    snapshot_interval_ms: int = setting(
        "SnapshotInterval",
        Number(0, _DAY, SPAN),
        "10s",
        "How often missions are measured while somebody listens to their changes. 0s: only when asked.",
    )
    terminate_grace_ms: int = setting(
        "TerminateGrace",
        Number(0, _HOUR, SPAN),
        "10s",
        "How long after SIGTERM what is left of a mission that is to end gets SIGKILL.",
    )


@dataclass(frozen=True, slots=True)
class KeepAliveSettings:
    """Protection of the processes with continuous tasks."""

    oom_score_adjust: int = setting(
        "OOMScoreAdjust",
        Number(-1000, 0),
        "-300",
        "What is added to oom_score_adj of these processes, but never to less than -900 in all. With 0 "
        "they are left as they are.",
    )
    restart_burst: int = setting(
        "RestartBurst",
        Number(1, 10_000),
        "10",
        "How many times a service with a task of keep-alive restart may end within RestartInterval=. With "
        "the next one the task ends: a crash loop that is too slow for StartLimitBurst= of the service.",
    )
    restart_interval_ms: int = setting(
        "RestartInterval",
        Number(1000, _DAY, SPAN),
        "10min",
        "The rolling time to which RestartBurst= applies.",
    )
    after_logout: bool = setting(
        "AfterLogout",
        Flag(),
        "yes",
        "Whether processes that own continuous tasks outlive the end of their user's login, even where "
        "logind has KillUserProcesses=yes. A change is for tasks that are started later.",
    )


@dataclass(frozen=True, slots=True)
class PeersSettings:
    """Other hosts; read by missiond-peers.service, off until missionctl peers enable."""

    port: int = setting(
        "Port", Number(1, 65_535), "8637", "The TCP port that peers connect to. A change needs a restart."
    )
    listen: tuple[str, ...] = setting(
        "Listen",
        ADDRESSES,
        "any",
        "The addresses of this host that peers may connect to. A change needs a restart.",
    )
    announce: bool = setting(
        "Announce",
        Flag(),
        "yes",
        "Whether this host is announced on its networks (over Avahi), so that others find it. "
        "A change needs a restart.",
    )
    share_users: tuple[int, ...] | None = setting(
        "ShareUsers",
        SHARERS,
        "all",
        "Whose missions peers may see, of the users whose programs are missions.",
    )


@dataclass(frozen=True, slots=True)
class ContinueSettings:
    """Missions continued elsewhere, or coming from peers with the permission continue."""

    user_map: tuple[tuple[str, str], ...] = setting(
        "UserMap",
        UserTable(),
        "same",
        "As whom missions of other hosts go on here: users there and here, where the names are not the same. "
        "Never as root or another user that is no person.",
    )
    state_max: int = setting(
        "StateMax",
        Number(100 << 10, 1 << 40, BYTES),
        "256M",
        "The most state that a program may hand over, here and from peers. Where it goes on, it takes memory "
        "until the program ends. What missions of one peer have on the disk until both hosts know how they "
        "ended is at most four times as much, and what those of all peers have eight times.",
    )
    answer_timeout_ms: int = setting(
        "AnswerTimeout",
        Number(100, _HOUR, SPAN),
        "10s",
        "How long a program may take to hand over its state.",
    )
    accept_timeout_ms: int = setting(
        "AcceptTimeout",
        Number(100, _HOUR, SPAN),
        "20s",
        "How long it may take until the other host is ready to go on with a mission.",
    )
    install_timeout_ms: int = setting(
        "InstallTimeout",
        Number(1000, _DAY, SPAN),
        "40s",
        "AcceptTimeout= where a package is installed first.",
    )
    settle_time_ms: int = setting(
        "SettleTime",
        Number(0, 60_000, SPAN),
        "2s",
        "How long a program has to live here until the host that it came from hears that it goes on here. "
        "One that ends before is started again there, with its state. A program that registers itself with "
        "the agent lives well enough from then on.",
    )


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """Limits of one client, and of all clients together."""

    calls_in_flight: int = setting(
        "CallsInFlight", Number(1, 10_000), "128", "How many calls of one connection may wait for an answer."
    )
    max_tasks: int = setting(
        "MaxTasks",
        Number(1, 1_000_000),
        "4096",
        "How many tasks of any kind there may be on this host, shared out as MaxMissions= is. Each takes "
        "three file descriptors (LimitNOFILE= of the service), and one in FileDescriptorStoreMax=.",
    )
    reason_length: int = setting(
        "ReasonLength",
        Number(1, 65_536),
        "1024",
        "The longest reason or context of a task, in bytes of UTF-8.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. ``Settings()`` has every default."""

    transient: TransientSettings = field(default_factory=TransientSettings)
    battery: BatterySettings = field(default_factory=BatterySettings)
    continuous: ContinuousSettings = field(default_factory=ContinuousSettings)
    missions: MissionsSettings = field(default_factory=MissionsSettings)
    keepalive: KeepAliveSettings = field(default_factory=KeepAliveSettings)
    peers: PeersSettings = field(default_factory=PeersSettings)
    continue_: ContinueSettings = field(default_factory=ContinueSettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)


PARAMETERS: tuple[Parameter, ...] = tuple(parameters_of(Settings))

# The first of each pair must not be above the second.
ORDERED: tuple[tuple[str, str], ...] = (
    ("[Transient] LowBatteryMaxDelay", "[Transient] MaxDelay"),
    ("[Transient] WarningTime", "[Transient] LowBatteryMaxDelay"),
    ("[Transient] MinimumQuota", "[Transient] Quota"),
    ("[Transient] Quota", "[Transient] QuotaPeriod"),
    ("[Battery] CriticalPercent", "[Battery] LowPercent"),
    ("[Continue] AnswerTimeout", "[Continue] AcceptTimeout"),
    ("[Continue] AcceptTimeout", "[Continue] InstallTimeout"),
)
