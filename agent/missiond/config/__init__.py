# SPDX-License-Identifier: Apache-2.0
"""The configuration: settings, search path and diagnostics."""
