# SPDX-License-Identifier: Apache-2.0
"""Constant tables of the arithmetic coder."""
