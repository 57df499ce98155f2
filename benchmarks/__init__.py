"""Commands that measure: each prints a table, with the peer in the same run, and writes JSON."""
