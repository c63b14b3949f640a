"""Side by side with peers, one JSON line a run."""
