"""The device and its memory: how it is shared out, what errors mean, what is tried when it runs out."""
