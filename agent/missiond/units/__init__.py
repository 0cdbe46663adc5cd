# SPDX-License-Identifier: Apache-2.0
"""missiond-units: starts and watches units of users' service managers, with the user's own rights."""
