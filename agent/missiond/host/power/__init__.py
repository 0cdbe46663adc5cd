# SPDX-License-Identifier: Apache-2.0
"""The battery and the power supply."""
