#include "tiling.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace rnan {

namespace {

// Tiles begin at multiples of this, which keeps the phase of strides and of the mosaic.
constexpr int kMultiple = 4;

int CeilDivide(int a, int b) { return (a + b - 1) / b; }

// Beyond the bottom and the right of the image its reflection goes on.
int Reflect(int i, int size) {
  if (size == 1) return 0;
  i %= 2 * (size - 1);
  return std::min(i, 2 * (size - 1) - i);
}

std::vector<float> Cut(const Pixels& image, int top, int left, int tile) {
  std::vector<float> values;
  values.reserve(size_t{1} * tile * tile * image.channels);
  for (int y = top; y < top + tile; ++y)
    for (int x = left; x < left + tile; ++x)
      for (int c = 0; c < image.channels; ++c)
        values.push_back(image.At(Reflect(y, image.height), Reflect(x, image.width), c) / float(image.peak));
  return values;
}

// The output of a row of tiles, weighted.
struct Band {
  int width, channels, scale;
  std::vector<float> values;

  void Add(const std::vector<float>& output, const Span& row, const Span& column) {
    const int side = static_cast<int>(row.weights.size()) * scale;
    const float* next = output.data();
    for (int y = 0; y < side; ++y) {
      float* target = &values[(size_t{1} * y * width + size_t{1} * column.start * scale) * channels];
      for (int x = 0; x < side; ++x) {
        const float weight = row.weights[y / scale] * column.weights[x / scale];
        for (int c = 0; c < channels; ++c) *target++ += *next++ * weight;
      }
    }
  }

  // Rounds the first `rows` rows into the image, as far as it reaches, and moves the others up.
  void Finish(int rows, int top, Pixels* image) {
    for (int y = 0; y < std::min(rows, image->height - top); ++y)
      for (int x = 0; x < image->width; ++x)
        for (int c = 0; c < channels; ++c) {
          const float value = values[(size_t{1} * y * width + x) * channels + c];
          if (!std::isfinite(value))
            throw std::runtime_error("the network gives NaN or infinity; the model or its weights are broken");
          image->At(top + y, x, c) = std::nearbyint(std::clamp(value, 0.f, 1.f) * float(image->peak));
        }
    const auto rest = std::copy(values.begin() + size_t{1} * rows * width * channels, values.end(), values.begin());
    std::fill(rest, values.end(), 0.f);
  }
};

}  // namespace

std::vector<Span> Spans(int size, int tile, int overlap) {
  const int padded = std::max(CeilDivide(size, kMultiple) * kMultiple, tile);
  const int count = std::max(CeilDivide(padded - overlap, tile - overlap), 1);
  // Zero over the outer quarter of the overlap, where a tile lacks context, then a linear ramp.
  std::vector<double> rising(tile), total(padded), weights(size_t{1} * count * tile);
  for (int i = 0; i < tile; ++i)
    rising[i] = std::clamp((i + 0.5 - overlap / 4.0) / std::max(overlap / 2.0, 1.0), 1e-6, 1.0);
  std::vector<Span> spans(count);
  for (int n = 0; n < count; ++n) {
    spans[n].start = std::min(n * (tile - overlap), padded - tile);
    for (int i = 0; i < tile; ++i) {
      const double first = spans[n].start > 0 ? rising[i] : 1;
      const double last = spans[n].start + tile < padded ? rising[tile - 1 - i] : 1;
      weights[n * tile + i] = first * last;
      total[spans[n].start + i] += first * last;
    }
  }
  for (int n = 0; n < count; ++n)
    for (int i = 0; i < tile; ++i) spans[n].weights.push_back(weights[n * tile + i] / total[spans[n].start + i]);
  return spans;
}

Pixels Restore(const Predictor& predict, const Pixels& degraded, int scale, int tile, int overlap) {
  const std::vector<Span> rows = Spans(degraded.height, tile, overlap), columns = Spans(degraded.width, tile, overlap);
  Pixels restored(degraded.height * scale, degraded.width * scale, degraded.channels, degraded.peak);
  Band band{(columns.back().start + tile) * scale, degraded.channels, scale, {}};
  band.values.resize(size_t{1} * tile * scale * band.width * band.channels);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (const Span& column : columns)
      band.Add(predict(Cut(degraded, rows[i].start, column.start, tile)), rows[i], column);
    const int done = i + 1 < rows.size() ? rows[i + 1].start - rows[i].start : tile;
    band.Finish(done * scale, rows[i].start * scale, &restored);
  }
  return restored;
}

}  // namespace rnan
