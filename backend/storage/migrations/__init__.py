"""How the tables changed over time: one numbered file per change in ``versions``, run by Alembic.

A new one: ``python -m backend.storage.migrations "what changes"`` compares `tables` with the newest revision.
"""
