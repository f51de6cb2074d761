#pragma once

#include <stdexcept>

namespace rnan {

// Wrong use, such as a missing file or a strength out of range. Any other exception is a job that failed.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace rnan
