// A .tflite file on LiteRT, on the CPU.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "card.h"
#include "litert_c_api.h"

namespace rnan {

class Network {
 public:
  // Throws InputError if there is no such file, or it is damaged or no export of RNAN-TF.
  explicit Network(const std::string& path, int threads = 2);

  const Card& card() const { return card_; }

  // Restores a tile (see Predictor) at a strength in the user's unit; a network that is not told it ignores it.
  std::vector<float> Run(const std::vector<float>& tile, double strength);

 private:
  template <auto Destroy>
  struct Destroyer {
    template <typename T>
    void operator()(T* handle) const {
      Destroy(handle);
    }
  };
  template <typename T, auto Destroy>
  using Handle = std::unique_ptr<std::remove_pointer_t<T>, Destroyer<Destroy>>;
  using Buffer = Handle<LiteRtTensorBuffer, LiteRtDestroyTensorBuffer>;

  void Open(const std::string& path, int threads);
  void CreateEnvironment();
  void ReadCard();
  void Compile(int threads);
  void MakeBuffers();
  void MakeInputs(LiteRtSignature signature);
  Buffer MakeBuffer(LiteRtTensor tensor, LiteRtTensorBufferRequirements requirements, const std::vector<int>& shape);

  Card card_;
  std::vector<char> content_;
  // Destroyed from the last to the first, as LiteRT wants it.
  Handle<LiteRtEnvironment, LiteRtDestroyEnvironment> environment_;
  Handle<LiteRtModel, LiteRtDestroyModel> model_;
  Handle<LiteRtOptions, LiteRtDestroyOptions> options_;
  Handle<LiteRtCompiledModel, LiteRtDestroyCompiledModel> compiled_;
  std::vector<Buffer> inputs_;
  Buffer output_;
  size_t image_ = 0;  // the index of the input that is not the strength
};

}  // namespace rnan
