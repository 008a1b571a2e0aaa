"""smbfs: a userland SMB client that mounts with FUSE."""
