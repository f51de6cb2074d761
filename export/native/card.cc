#include "card.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "errors.h"

namespace rnan {

namespace {

int Whole(const nlohmann::json& number) {
  if (!number.is_number_integer())
    throw InputError("its metadata rnan_tf has sizes that are no whole numbers; export it again");
  return static_cast<int>(std::clamp<int64_t>(number.get<int64_t>(), -1, 1 << 20));
}

std::string Range(const Card& card) {
  std::ostringstream text;
  text << card.strength << " " << card.lowest;
  if (card.lowest < card.highest) text << " to " << card.highest;
  return text.str();
}

}  // namespace

Card ParseCard(const std::string& json) {
  Card card{};
  try {
    const nlohmann::json data = nlohmann::json::parse(json);
    card.task = data.at("task").get<std::string>();
    card.scale = Whole(data.at("scale"));
    card.channels = Whole(data.at("channels"));
    card.conditional = data.at("conditional").get<bool>();
    card.tile = Whole(data.at("tile"));
    card.overlap = Whole(data.at("overlap"));
    if (!data.at("strength").is_null()) {
      card.strength = data.at("strength").get<std::string>();
      card.lowest = data.at("strengths").at(0).get<double>();
      card.highest = data.at("strengths").at(1).get<double>();
    }
  } catch (const nlohmann::json::exception&) {
    throw InputError("its metadata rnan_tf is damaged or of another version; export it again");
  }
  if (card.scale < 1 || card.scale > 4 || (card.channels != 1 && card.channels != 3) || card.tile < 16 ||
      card.tile > 4096 || card.tile % 4 || card.overlap < 0 || card.overlap > card.tile / 2 || card.overlap % 4)
    throw InputError("its metadata rnan_tf has sizes that cannot be; export it again");
  return card;
}

double CheckStrength(const Card& card, const double* given) {
  if (!given) {
    if (card.conditional && !card.strength.empty()) throw InputError("is told the strength; give " + Range(card));
    return card.lowest;
  }
  if (card.strength.empty()) throw InputError("task " + card.task + " has no strength; leave it out");
  if (card.lowest < card.highest && !card.conditional)
    throw InputError("is not told the " + card.strength + "; leave it out");
  if (!(card.lowest <= *given && *given <= card.highest))
    throw InputError("trained for " + Range(card) + "; give such");
  return *given;
}

}  // namespace rnan
