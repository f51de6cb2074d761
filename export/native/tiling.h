// Restore images of any size in bounded memory: overlapping tiles, feathered together. Sizes, starts and weights are
// those of rnan_tf/restoring/tiling.py for fixed tiles; tests/data/tiling.json holds both to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace rnan {

// Row by row, channels last; values from 0 to `peak`, 255 or 65535.
struct Pixels {
  int height, width, channels, peak;
  std::vector<uint16_t> values;

  Pixels(int height, int width, int channels, int peak)
      : height(height), width(width), channels(channels), peak(peak), values(size_t{1} * height * width * channels) {}
  uint16_t& At(int y, int x, int c) { return values[(size_t{1} * y * width + x) * channels + c]; }
  uint16_t At(int y, int x, int c) const { return values[(size_t{1} * y * width + x) * channels + c]; }
};

// Where a tile begins on an axis, and the weight of each of its pixels.
struct Span {
  int start;
  std::vector<float> weights;
};

// Covers an axis by tiles whose weights add up to 1 at every pixel.
std::vector<Span> Spans(int size, int tile, int overlap);

// Maps a tile (tile x tile x channels, range [0, 1]) to its restoration (scale times higher and wider, not clipped).
using Predictor = std::function<std::vector<float>(const std::vector<float>&)>;

// Restores an image, a row of tiles at a time. Throws std::runtime_error if the predictor gives NaN.
Pixels Restore(const Predictor& predict, const Pixels& degraded, int scale, int tile, int overlap);

}  // namespace rnan
