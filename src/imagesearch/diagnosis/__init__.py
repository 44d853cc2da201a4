"""Diagnosis: what is installed and configured here, whether it works, and how to fix it."""

from imagesearch.diagnosis._examine import diagnose
from imagesearch.diagnosis.finding import Finding, Status

__all__ = ["Finding", "Status", "diagnose"]
