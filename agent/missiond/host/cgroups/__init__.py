# SPDX-License-Identifier: Apache-2.0
"""Control groups, cgroups(7): units, events, freezing, usage."""
