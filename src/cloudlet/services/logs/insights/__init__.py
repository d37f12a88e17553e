"""Logs Insights' query language: text to plan, and plan over events to rows; no I/O."""
