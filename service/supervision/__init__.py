"""Child processes kept alive. It knows processes and ports, and nothing of what runs in them."""
