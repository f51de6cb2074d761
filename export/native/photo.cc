#include "photo.h"

#include "errors.h"

namespace rnan {

namespace {

using Values = std::vector<float>;

Values Channel(const Values& image, int c) {
  Values values;
  for (size_t i = c; i < image.size(); i += 3) values.push_back(image[i]);
  return values;
}

Predictor OnEachChannel(const Predictor& predict) {
  return [predict](const Values& image) {
    Values restored;
    for (int c = 0; c < 3; ++c) {
      const Values channel = predict(Channel(image, c));
      restored.resize(channel.size() * 3);
      for (size_t i = 0; i < channel.size(); ++i) restored[i * 3 + c] = channel[i];
    }
    return restored;
  };
}

Predictor OnGray(const Predictor& predict) {
  return [predict](const Values& image) {
    Values rgb;
    for (float value : image) rgb.insert(rgb.end(), 3, value);
    const Values restored = predict(rgb);
    Values gray;
    for (size_t i = 0; i < restored.size(); i += 3)
      gray.push_back((restored[i] + restored[i + 1] + restored[i + 2]) / 3);
    return gray;
  };
}

// In YCbCr (full-range BT.601), where the codec worked: the network sees the luma.
Predictor OnLuma(const Predictor& predict) {
  constexpr float kMiddle = 128.0 / 255;
  return [predict](const Values& image) {
    Values luma;
    for (size_t i = 0; i < image.size(); i += 3)
      luma.push_back(0.299f * image[i] + 0.587f * image[i + 1] + 0.114f * image[i + 2]);
    const Values restored = predict(luma);
    Values rgb;
    for (size_t i = 0; i < luma.size(); ++i) {
      const float cb = (image[i * 3 + 2] - luma[i]) / 1.772f + kMiddle;
      const float cr = (image[i * 3] - luma[i]) / 1.402f + kMiddle;
      const float red = restored[i] + 1.402f * (cr - kMiddle), blue = restored[i] + 1.772f * (cb - kMiddle);
      rgb.insert(rgb.end(), {red, (restored[i] - 0.299f * red - 0.114f * blue) / 0.587f, blue});
    }
    return rgb;
  };
}

// The colour that a GRBG sensor samples at a pixel.
int SampledColor(int y, int x) { return y % 2 == x % 2 ? 1 : y % 2 ? 2 : 0; }

// RGB whose unsampled values are zero, from that or from a single-channel Bayer image.
Pixels AsMosaic(const Pixels& photo) {
  if (photo.height < 2 || photo.width < 2) throw InputError("a mosaic has at least two rows and columns");
  Pixels mosaic(photo.height, photo.width, 3, photo.peak);
  for (int y = 0; y < photo.height; ++y)
    for (int x = 0; x < photo.width; ++x) {
      const int sampled = SampledColor(y, x);
      mosaic.At(y, x, sampled) = photo.At(y, x, photo.channels == 3 ? sampled : 0);
      for (int c = 0; c < photo.channels && photo.channels == 3; ++c)
        if (c != sampled && photo.At(y, x, c)) throw InputError("is not a GRBG mosaic; unsampled values must be zero");
    }
  return mosaic;
}

}  // namespace

Pixels RestorePhoto(Network* network, const Pixels& photo, double strength) {
  const Card& card = network->card();
  Predictor predict = [&](const Values& tile) { return network->Run(tile, strength); };
  const auto restore = [&](const Pixels& pixels) {
    return Restore(predict, pixels, card.scale, card.tile, card.overlap);
  };
  if (card.OfMosaic()) return restore(AsMosaic(photo));
  if (card.OfLuma() && photo.channels == 3)
    predict = OnLuma(predict);
  else if (card.channels < photo.channels)
    predict = OnEachChannel(predict);
  else if (card.channels > photo.channels)
    predict = OnGray(predict);
  return restore(photo);
}

}  // namespace rnan
