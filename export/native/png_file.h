// PNG files of 8 and 16 bits, gray and RGB, with alpha and colour profile.
#pragma once

#include <string>
#include <vector>

#include "tiling.h"

namespace rnan {

struct PngFile {
  Pixels pixels;
  std::vector<uint16_t> alpha;         // empty for an opaque image
  std::vector<uint8_t> color_profile;  // ICC; empty if it has none
};

// Palettes become RGB, less than 8 bits become 8. Throws InputError if it cannot be read.
PngFile ReadPng(const std::string& path);

// Throws std::runtime_error if it cannot be written; nothing is left then.
void WritePng(const std::string& path, const PngFile& image);

}  // namespace rnan
