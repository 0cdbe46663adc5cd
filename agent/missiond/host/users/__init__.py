# SPDX-License-Identifier: Apache-2.0
"""Users and applications."""
