# SPDX-License-Identifier: Apache-2.0
"""The verbs of missionctl, one a module."""
