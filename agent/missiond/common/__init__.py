# SPDX-License-Identifier: Apache-2.0
"""Small machines for every layer: pauses, deadlines, queues, limits; nothing here knows of missiond."""
