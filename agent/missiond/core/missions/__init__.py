# SPDX-License-Identifier: Apache-2.0
"""Rules of missions: who has them, how they are numbered and shown."""
