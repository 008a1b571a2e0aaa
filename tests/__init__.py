"""Tests, numbered by layer: what fails low makes what stands above it uninteresting."""
