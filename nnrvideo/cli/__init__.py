# SPDX-License-Identifier: Apache-2.0
"""The command line: parse options, call one API function, print; nothing else lives here."""
