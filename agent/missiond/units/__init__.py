# SPDX-License-Identifier: Apache-2.0
"""missiond-units: starts and watches units of users' service managers, as the user whose they are."""
