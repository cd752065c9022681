"""The flood simulator: an audience of seeded personas that writes to a Luma through the real way in, and is measured.

``python -m simulator --help``; docs/simulator.md says what the figures mean. Nothing of Luma imports it.
"""
