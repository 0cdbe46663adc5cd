# SPDX-License-Identifier: Apache-2.0
"""Connection of a verb to the agent."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import missiond
from missiond.cli.asking import PasswordAgent, may_ask

PATIENCE = 5.0
"""Seconds until an agent is given up for answering neither a call nor Ping."""


@asynccontextmanager
async def connected(
    arguments: argparse.Namespace,
    *,
    patience: float = PATIENCE,
    asks: bool = True,
    ask_first: str | None = None,
) -> AsyncIterator[missiond.Agent]:
    """Connect for one verb; people are asked for a password where polkit wants one and somebody is there.

    `patience`: seconds for an agent that does not even answer Ping; one that is only slow has a minute.
    `asks`: False for a verb that never asks. `ask_first`: polkit's action without which the answer is not
    denied, but shorter; where nobody can be asked, polkit is asked whether the action is allowed anyway.
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
            patience=patience,
        ) as agent:
            if not may and ask_first is not None and os.geteuid() != 0:
                agent.interactive = await agent.may_unasked(ask_first)
            yield agent
    finally:
        passwords.stop()
