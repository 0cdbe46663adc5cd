# SPDX-License-Identifier: Apache-2.0
"""Rules of missions: owners, numbers and rows."""
