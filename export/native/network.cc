#include "network.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "errors.h"

namespace rnan {

namespace {

void Check(LiteRtStatus status) {
  if (status) throw std::runtime_error("LiteRT failed with status " + std::to_string(status));
}

[[noreturn]] void FailAsForeign() { throw InputError("has other inputs and outputs than its metadata says"); }

// Calls a function of LiteRT whose last argument is where the result goes.
template <typename T, typename Function, typename... Arguments>
T Get(Function function, Arguments... arguments) {
  T result{};
  Check(function(arguments..., &result));
  return result;
}

std::vector<char> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError("no such model");
  std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
  if (content.size() < 8 || std::memcmp(&content[4], "TFL3", 4)) throw InputError("is no TFLite file");
  return content;
}

template <typename Access>
void Locked(LiteRtTensorBuffer buffer, int mode, Access access) {
  void* address = nullptr;
  Check(LiteRtLockTensorBuffer(buffer, &address, mode));
  access(static_cast<float*>(address));
  Check(LiteRtUnlockTensorBuffer(buffer));
}

}  // namespace

Network::Network(const std::string& path, int threads) {
  try {
    Open(path, threads);
  } catch (const InputError& error) {
    throw InputError(path + ": " + error.what());
  } catch (const std::runtime_error& error) {
    throw InputError(path + ": cannot be loaded (" + error.what() + "); copy or export it again");
  }
}

void Network::Open(const std::string& path, int threads) {
  content_ = ReadFile(path);
  CreateEnvironment();
  model_.reset(Get<LiteRtModel>(LiteRtCreateModelFromBuffer, environment_.get(), content_.data(), content_.size()));
  ReadCard();
  Compile(threads);
  MakeBuffers();
}

void Network::CreateEnvironment() {
  const LiteRtEnvOption options[] = {
      {kLiteRtEnvOptionTagMinLoggerSeverity, {kLiteRtAnyTypeInt, kLiteRtLogSeveritySilent}},
      {kLiteRtEnvOptionTagAutoRegisterAccelerators, {kLiteRtAnyTypeInt, kLiteRtHwAcceleratorCpu}}};
  environment_.reset(Get<LiteRtEnvironment>(LiteRtCreateEnvironment, 2, options));
}

void Network::ReadCard() {
  const void* json = nullptr;
  size_t size = 0;
  if (LiteRtGetModelMetadata(model_.get(), "rnan_tf", &json, &size))
    throw InputError("does not say what it is for; export it with rnan-tf");
  card_ = ParseCard(std::string(static_cast<const char*>(json), size));
}

void Network::Compile(int threads) {
  options_.reset(Get<LiteRtOptions>(LiteRtCreateOptions));
  Check(LiteRtSetOptionsHardwareAccelerators(options_.get(), kLiteRtHwAcceleratorCpu));
  char* toml = strdup(("num_threads = " + std::to_string(threads)).c_str());
  const auto cpu = Get<LiteRtOpaqueOptions>(LiteRtCreateOpaqueOptions, "xnnpack", toml, std::free);
  Check(LiteRtAddOpaqueOptions(options_.get(), cpu));
  compiled_.reset(
      Get<LiteRtCompiledModel>(LiteRtCreateCompiledModel, environment_.get(), model_.get(), options_.get()));
}

void Network::MakeBuffers() {
  const size_t signatures = Get<size_t>(LiteRtGetNumModelSignatures, model_.get());
  const auto signature = Get<LiteRtSignature>(LiteRtGetModelSignature, model_.get(), size_t{0});
  const size_t outputs = Get<size_t>(LiteRtGetNumSignatureOutputs, signature);
  if (signatures != 1 || outputs != 1) FailAsForeign();
  MakeInputs(signature);
  const int enlarged = card_.tile * card_.scale;
  output_ = MakeBuffer(Get<LiteRtTensor>(LiteRtGetSignatureOutputTensorByIndex, signature, size_t{0}),
                       Get<LiteRtTensorBufferRequirements>(LiteRtGetCompiledModelOutputBufferRequirements,
                                                           compiled_.get(), size_t{0}, size_t{0}),
                       {1, enlarged, enlarged, card_.channels});
}

void Network::MakeInputs(LiteRtSignature signature) {
  const size_t inputs = Get<size_t>(LiteRtGetNumSignatureInputs, signature);
  size_t images = 0;
  for (size_t i = 0; i < inputs; ++i) {
    const bool image = !std::strcmp(Get<const char*>(LiteRtGetSignatureInputName, signature, i), "image");
    if (image) image_ = i, ++images;
    inputs_.push_back(
        MakeBuffer(Get<LiteRtTensor>(LiteRtGetSignatureInputTensorByIndex, signature, i),
                   Get<LiteRtTensorBufferRequirements>(LiteRtGetCompiledModelInputBufferRequirements, compiled_.get(),
                                                       size_t{0}, i),
                   image ? std::vector<int>{1, card_.tile, card_.tile, card_.channels} : std::vector<int>{1}));
  }
  if (images != 1 || inputs != (card_.conditional ? 2 : 1)) FailAsForeign();
}

Network::Buffer Network::MakeBuffer(LiteRtTensor tensor, LiteRtTensorBufferRequirements requirements,
                                    const std::vector<int>& shape) {
  const auto type = Get<LiteRtRankedTensorType>(LiteRtGetRankedTensorType, tensor);
  const std::vector<int> actual(type.dimensions, type.dimensions + type.rank);
  if (type.element_type != kLiteRtElementTypeFloat32 || actual != shape) FailAsForeign();
  return Buffer(Get<LiteRtTensorBuffer>(LiteRtCreateManagedTensorBufferFromRequirements, environment_.get(), &type,
                                        requirements));
}

std::vector<float> Network::Run(const std::vector<float>& tile, double strength) {
  std::vector<LiteRtTensorBuffer> inputs;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    inputs.push_back(inputs_[i].get());
    Locked(inputs[i], kLiteRtTensorBufferLockModeWrite, [&](float* values) {
      if (i == image_)
        std::copy(tile.begin(), tile.end(), values);
      else
        *values = static_cast<float>(strength / 255);
    });
  }
  LiteRtTensorBuffer output = output_.get();
  Check(LiteRtRunCompiledModel(compiled_.get(), 0, inputs.size(), inputs.data(), 1, &output));
  std::vector<float> restored(tile.size() * card_.scale * card_.scale);
  Locked(output, kLiteRtTensorBufferLockModeRead,
         [&](const float* values) { std::copy_n(values, restored.size(), restored.begin()); });
  return restored;
}

}  // namespace rnan
