// rnan_restore MODEL.tflite IN.png OUT.png [STRENGTH]: restore a photograph with an exported network.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

#include "errors.h"
#include "photo.h"
#include "png_file.h"

namespace rnan {

namespace {

// While it lives, nothing reaches the terminal: LiteRT writes there that it uses XNNPACK, and no log level rules that
// line.
class Silence {
 public:
  Silence() : terminal_(dup(2)) {
    const int nothing = open("/dev/null", O_WRONLY);
    dup2(nothing, 2);
    close(nothing);
  }
  ~Silence() {
    dup2(terminal_, 2);
    close(terminal_);
  }

 private:
  int terminal_;
};

double ParseStrength(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end) throw InputError("the strength must be a number; got " + text);
  return value;
}

double CheckedStrength(const std::string& path, const Card& card, const char* text) {
  const double given = text ? ParseStrength(text) : 0;
  try {
    return CheckStrength(card, text ? &given : nullptr);
  } catch (const InputError& error) {
    throw InputError(path + ": " + error.what());
  }
}

void Run(const std::string& model, const std::string& source, const std::string& target, const char* strength_text) {
  Network network = [&] {
    Silence silence;
    return Network(model);
  }();
  const Card& card = network.card();
  const double strength = CheckedStrength(model, card, strength_text);
  PngFile image = ReadPng(source);
  if (card.scale > 1 && !image.alpha.empty())
    throw InputError(source + ": has transparency, which is not enlarged here; remove its alpha channel");
  const auto begin = std::chrono::steady_clock::now();
  try {
    const size_t tiles = Spans(image.pixels.height, card.tile, card.overlap).size() *
                         Spans(image.pixels.width, card.tile, card.overlap).size();
    image.pixels = RestorePhoto(&network, image.pixels, strength);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
    WritePng(target, image);
    std::printf("%s: %zu tiles, %.1f ms each\n", target.c_str(), tiles, taken.count() / tiles);
  } catch (const InputError& error) {
    throw InputError(source + ": " + error.what());
  }
}

}  // namespace

}  // namespace rnan

int main(int argc, char** argv) {
  try {
    if (argc != 4 && argc != 5) throw rnan::InputError("usage: rnan_restore MODEL.tflite IN.png OUT.png [STRENGTH]");
    rnan::Run(argv[1], argv[2], argv[3], argc == 5 ? argv[4] : nullptr);
    return 0;
  } catch (const rnan::InputError& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  return 1;
}
