# SPDX-License-Identifier: Apache-2.0
"""Rules of pairing: both hosts show one code."""
