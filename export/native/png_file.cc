#include "png_file.h"

#include <png.h>

#include <cstdio>
#include <memory>
#include <new>

#include "errors.h"

namespace rnan {

namespace {

constexpr size_t kMaxPixels = 100000000;

struct Close {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, Close>;

// libpng reports errors by a jump, over functions that must not hold anything to destroy: those that call it return
// false, and take no objects.
[[noreturn]] void Fail(png_structp png, png_const_charp message) {
  std::snprintf(static_cast<char*>(png_get_error_ptr(png)), 200, "%s", message);
  png_longjmp(png, 1);
}
void Ignore(png_structp, png_const_charp) {}

struct Png {
  char message[200] = "";
  png_structp png;
  png_infop info;
  bool writes;

  explicit Png(bool writes) : writes(writes) {
    png = writes ? png_create_write_struct(PNG_LIBPNG_VER_STRING, message, Fail, Ignore)
                 : png_create_read_struct(PNG_LIBPNG_VER_STRING, message, Fail, Ignore);
    info = png ? png_create_info_struct(png) : nullptr;
    if (!info) throw std::bad_alloc();
  }
  Png(const Png&) = delete;
  ~Png() { writes ? png_destroy_write_struct(&png, &info) : png_destroy_read_struct(&png, &info, nullptr); }
};

bool ReadHeader(const Png& png, FILE* file) {
  if (setjmp(png_jmpbuf(png.png))) return false;
  png_init_io(png.png, file);
  png_read_info(png.png, png.info);
  png_set_expand(png.png);
  png_set_interlace_handling(png.png);
  if (png_get_bit_depth(png.png, png.info) == 16) png_set_swap(png.png);
  png_read_update_info(png.png, png.info);
  return true;
}

bool ReadRows(const Png& png, png_bytepp rows) {
  if (setjmp(png_jmpbuf(png.png))) return false;
  png_read_image(png.png, rows);
  png_read_end(png.png, nullptr);
  return true;
}

bool WriteRows(const Png& png, FILE* file, const PngFile& image, int color_type, png_bytepp rows) {
  if (setjmp(png_jmpbuf(png.png))) return false;
  const Pixels& pixels = image.pixels;
  const int bits = pixels.peak > 255 ? 16 : 8;
  png_init_io(png.png, file);
  png_set_IHDR(png.png, png.info, pixels.width, pixels.height, bits, color_type, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!image.color_profile.empty())
    png_set_iCCP(png.png, png.info, "ICC profile", PNG_COMPRESSION_TYPE_BASE, image.color_profile.data(),
                 image.color_profile.size());
  png_write_info(png.png, png.info);
  if (bits == 16) png_set_swap(png.png);
  png_write_image(png.png, rows);
  png_write_end(png.png, nullptr);
  return true;
}

std::vector<png_bytep> RowsOf(std::vector<uint8_t>* bytes, int height) {
  std::vector<png_bytep> rows;
  for (int y = 0; y < height; ++y) rows.push_back(bytes->data() + bytes->size() / height * y);
  return rows;
}

// Samples are bytes or, as png_set_swap makes them, the little-endian pairs of bytes that every phone and PC has.
uint16_t Sample(const std::vector<uint8_t>& bytes, size_t i, bool wide) {
  return wide ? reinterpret_cast<const uint16_t*>(bytes.data())[i] : bytes[i];
}
void SetSample(std::vector<uint8_t>* bytes, size_t i, bool wide, uint16_t value) {
  if (wide)
    reinterpret_cast<uint16_t*>(bytes->data())[i] = value;
  else
    (*bytes)[i] = static_cast<uint8_t>(value);
}

PngFile Decode(FILE* file) {
  Png png(false);
  if (!ReadHeader(png, file)) throw InputError(png.message);
  const int width = png_get_image_width(png.png, png.info), height = png_get_image_height(png.png, png.info);
  if (size_t{1} * width * height > kMaxPixels) throw InputError("more than 100 million pixels");
  const bool wide = png_get_bit_depth(png.png, png.info) == 16;
  const int samples = png_get_channels(png.png, png.info), channels = samples < 3 ? 1 : 3;
  std::vector<uint8_t> bytes(png_get_rowbytes(png.png, png.info) * height);
  if (!ReadRows(png, RowsOf(&bytes, height).data())) throw InputError(png.message);

  PngFile image{Pixels(height, width, channels, wide ? 65535 : 255), {}, {}};
  if (samples > channels) image.alpha.resize(size_t{1} * width * height);
  for (size_t i = 0; i < size_t{1} * width * height; ++i) {
    for (int c = 0; c < channels; ++c) image.pixels.values[i * channels + c] = Sample(bytes, i * samples + c, wide);
    if (samples > channels) image.alpha[i] = Sample(bytes, i * samples + channels, wide);
  }
  char* name;
  int method;
  png_bytep profile;
  png_uint_32 size;
  if (png_get_iCCP(png.png, png.info, &name, &method, &profile, &size))
    image.color_profile.assign(profile, profile + size);
  return image;
}

void Encode(FILE* file, const PngFile& image) {
  const Pixels& pixels = image.pixels;
  const bool wide = pixels.peak > 255, alpha = !image.alpha.empty();
  const int samples = pixels.channels + alpha;
  std::vector<uint8_t> bytes(size_t{1} * pixels.height * pixels.width * samples * (wide ? 2 : 1));
  for (size_t i = 0; i < size_t{1} * pixels.height * pixels.width; ++i) {
    for (int c = 0; c < pixels.channels; ++c)
      SetSample(&bytes, i * samples + c, wide, pixels.values[i * pixels.channels + c]);
    if (alpha) SetSample(&bytes, i * samples + pixels.channels, wide, image.alpha[i]);
  }
  Png png(true);
  const int color_type = (pixels.channels == 3 ? PNG_COLOR_MASK_COLOR : 0) | (alpha ? PNG_COLOR_MASK_ALPHA : 0);
  if (!WriteRows(png, file, image, color_type, RowsOf(&bytes, pixels.height).data()))
    throw std::runtime_error(png.message);
}

}  // namespace

PngFile ReadPng(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) throw InputError(path + ": cannot be opened; check the path");
  try {
    return Decode(file.get());
  } catch (const InputError& error) {
    throw InputError(path + ": cannot be read as PNG (" + error.what() + ")");
  }
}

void WritePng(const std::string& path, const PngFile& image) {
  const std::string temporary = path + ".part";
  File file(std::fopen(temporary.c_str(), "wb"));
  if (!file) throw std::runtime_error(path + ": cannot be written; check its folder");
  try {
    Encode(file.get(), image);
    if (std::fclose(file.release()) || std::rename(temporary.c_str(), path.c_str()))
      throw std::runtime_error("the disk may be full");
  } catch (const std::runtime_error& error) {
    std::remove(temporary.c_str());
    throw std::runtime_error(path + ": cannot be written (" + error.what() + ")");
  }
}

}  // namespace rnan
