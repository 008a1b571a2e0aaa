"""See a share mounted and worked in, with nothing but this repository."""
