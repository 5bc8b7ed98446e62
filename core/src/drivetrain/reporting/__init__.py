"""Brings what a run reports to its reporters, whatever those do: nothing here can end or delay a run."""
