"""Several GPUs of one host: which there are, a supervised worker for each, and the whole of them."""
