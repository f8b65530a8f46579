"""The web server: the same answers as the shell's, over HTTP. Needs the extra ``web``."""
