// tiling_test tiling.json: the tiling against the vectors that Python wrote, bit by bit.
#include "tiling.h"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

bool SameAxis(const json& axis) {
  const auto spans = rnan::Spans(axis["size"], axis["tile"], axis["overlap"]);
  bool same = spans.size() == axis["starts"].size();
  for (size_t i = 0; same && i < spans.size(); ++i)
    same = spans[i].start == axis["starts"][i] && spans[i].weights == axis["weights"][i].get<std::vector<float>>();
  return same;
}

bool SameImage(const json& vector) {
  const int tile = vector["tile"], scale = vector["scale"], channels = vector["channels"];
  rnan::Pixels image(vector["height"], vector["width"], channels, vector["bits"] == 8 ? 255 : 65535);
  image.values = vector["pixels"].get<std::vector<uint16_t>>();
  const auto network = [&](const std::vector<float>& values) {
    std::vector<float> restored;
    for (int y = 0; y < tile * scale; ++y)
      for (int x = 0; x < tile * scale; ++x)
        for (int c = 0; c < channels; ++c)
          restored.push_back(values[(y / scale * tile + x / scale) * channels + c] / 2 + float(y + 2 * x) / 256);
    return restored;
  };
  const rnan::Pixels restored = rnan::Restore(network, image, scale, tile, vector["overlap"]);
  return restored.values == vector["restored"].get<std::vector<uint16_t>>();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::ifstream file(argv[1]);
  const json vectors = json::parse(file);
  int wrong = 0;
  for (const json& axis : vectors["axes"]) wrong += !SameAxis(axis);
  for (const json& image : vectors["images"]) wrong += !SameImage(image);
  std::printf("%zu axes, %zu images, %d wrong\n", vectors["axes"].size(), vectors["images"].size(), wrong);
  return wrong ? 1 : 0;
}
