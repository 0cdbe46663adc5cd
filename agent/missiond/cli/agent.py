# SPDX-License-Identifier: Apache-2.0
"""The agent, as verbs reach it."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import missiond
from missiond.cli.asking import PasswordAgent, may_ask

TIMEOUT = 25.0
"""Seconds for an answer that nobody was asked about."""
PATIENCE = 5.0
"""Seconds after which a call without an answer is given up, where the agent does not even answer Ping."""


@asynccontextmanager
async def connected(
    arguments: argparse.Namespace,
    *,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of each answer
    asks: bool = True,
    ask_first: str | None = None,
) -> AsyncIterator[missiond.Agent]:
    """Connect for one verb; people are asked for a password where polkit wants one and somebody is there.

    `timeout`: seconds for an answer that nobody was asked about. `asks`: False where nothing is to be asked.
    `ask_first`: polkit's action for what is not denied without it, but answered with less. Where nobody can
    be asked it is looked whether it is allowed anyway.
    """
    passwords = PasswordAgent()
    may = asks and may_ask(arguments)
    try:
        if may and ask_first is not None:
            await passwords.start()
        async with missiond.connect(
            session=arguments.session,
            interactive=may and ask_first is not None,
            on_denial=passwords.start if may else None,
            timeout=timeout,
            patience=PATIENCE,
        ) as agent:
            if not may and ask_first is not None and os.geteuid() != 0:
                agent.interactive = await agent.may_unasked(ask_first)
            yield agent
    finally:
        passwords.stop()
