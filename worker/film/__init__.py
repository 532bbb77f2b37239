"""Frames on their way to files: the MP4, its stills and previews, and the keyframe as a picture."""
