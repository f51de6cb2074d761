"""What the tests of TFLite files share: the tile of small networks, and the parts of a file."""

from ai_edge_litert import schema_py_generated as schema

from tests.helpers.random_networks import LITE, PAPER, random_model

__all__ = ["LITE", "PAPER", "TILE", "parsed", "random_model"]

TILE = 16


def parsed(content):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
