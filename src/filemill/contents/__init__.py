"""contents."""
