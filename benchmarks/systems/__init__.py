"""The systems that need no environment of their own: raycollab, and plain PyTorch as the floor."""
