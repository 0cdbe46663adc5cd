# SPDX-License-Identifier: Apache-2.0
"""The hand-over of a mission to another host: never lost, and never run twice.

Two-phase commit with the source as its coordinator. The source keeps the mission running until the target has
all that it needs on its disk (PREPARED). It then stops the mission, writes down that the target has it now
(COMMITTED), and says so (COMMIT). From there on the source never starts it again by itself, and the target
starts it only once COMMIT is on its own disk. Whoever does not know how it ended asks: a source without a
record has not committed, so that "unknown" is the word to drop what was prepared. In doubt a mission is
stopped, and listed on both hosts.

There is no clock, disk or bus in here: `coordinator.Coordinator` takes what happened and returns what to do.
How that is to be done is said there and at each of `effects`.
"""
