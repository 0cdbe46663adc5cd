# SPDX-License-Identifier: Apache-2.0
"""Small machines that every layer uses: pauses, deadlines, queues, limits; they know nothing of missiond."""
