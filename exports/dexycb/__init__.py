"""DexYCB: hand and object poses, one still a sequence."""
