// Restore photographs as they come: gray ones with networks for RGB and the reverse, mosaics, colour JPEGs.
#pragma once

#include "network.h"
#include "tiling.h"

namespace rnan {

// Restores a photograph at a strength in the user's unit. Throws InputError if it is not what the network restores.
Pixels RestorePhoto(Network* network, const Pixels& photo, double strength);

}  // namespace rnan
