"""Engines that see."""
