// server/ops/limits_table.h — every limit that bounds a server, once: its name, its default, what
// it bounds and what is told to who meets it.
#pragma once

#include <berth/server/config.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace berth::server {

enum class LimitUnit : std::uint8_t { count, bytes, seconds };
std::string_view to_string(LimitUnit unit);

/// Where a limit stands in the configuration.
using LimitPlace = std::variant<std::size_t*, int*, Duration*>;

/// A row of the table. From it come the keys of `[limits]`, their section in docs/configuration.md,
/// the table of `GET /v1/limits`, and the names in errors and in /metrics.
struct LimitSpec {
  std::string_view name;  ///< The key in `[limits]`, unless it is fixed.
  LimitUnit unit = LimitUnit::count;
  LimitPlace (*of)(Config& config) = nullptr;
  std::string_view bounds;      ///< For docs, behind the unit: "seconds" + " between ...".
  std::string_view code = {};   ///< Of the error that meeting it is answered with; empty: none is.
  std::string_view usual = {};  ///< In docs, in place of a default that is none or the machine's.
  bool fixed = false;           ///< No key: only whoever embeds a server changes it.
};

/// In the order in which docs tell them.
std::span<const LimitSpec> limits_table();

/// The sections of docs/configuration.md: of `[limits]`, and of those that are fixed.
std::string limits_markdown();

/// The limit that an error of this code and message is about, as the table has it; empty when it
/// is about none.
std::string_view limit_named_by(std::string_view code, std::string_view message);

/// A limit as `GET /v1/limits` tells it.
struct LimitValue {
  const LimitSpec* spec = nullptr;
  std::optional<double> value;  ///< Nothing: there is no such limit, or the machine decides.
};
std::vector<LimitValue> limit_values(const Config& config);

}  // namespace berth::server
