"""Diagnosis: what is installed and configured here, whether it works, and how to fix it."""

from imagesearch.diagnosis._doctor import diagnose

__all__ = ["diagnose"]
