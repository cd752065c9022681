"""Celery jobs that call the same functions as the API (optional; arrives with scale-out)."""
