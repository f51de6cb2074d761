// What a network is for and how it wants its images: the metadata "rnan_tf" of a .tflite file.
#pragma once

#include <string>

namespace rnan {

struct Card {
  std::string task;
  int scale;               // how many times larger its output is
  int channels;            // 3 (RGB) or 1 (gray)
  std::string strength;    // "sigma" or "quality"; empty for a task without
  double lowest, highest;  // strengths that it was trained for
  bool conditional;        // whether it is told the strength
  int tile;                // height and width of its input
  int overlap;             // pixels that neighbouring tiles share

  // Its input is a GRBG mosaic: RGB whose unsampled values are zero.
  bool OfMosaic() const { return task == "demosaic"; }
  // Of a colour image it restores the luma.
  bool OfLuma() const { return task == "jpeg"; }
};

// Throws InputError if `json` is no card of a network with a fixed tile.
Card ParseCard(const std::string& json);

// Returns the strength to run at: `given`, if the network takes it, else what it was trained for. `given` is null where
// the user gave none. Throws InputError if one is missing, out of range or of no use.
double CheckStrength(const Card& card, const double* given);

}  // namespace rnan
