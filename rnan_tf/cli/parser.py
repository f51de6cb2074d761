"""The parser of every command. It imports next to nothing, so that `rnan-tf --help` is quick."""

import argparse

from rnan_tf.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, as all others are."""

    def error(self, message):
        raise InputError(f"{message}; see `{self.prog} --help`")
