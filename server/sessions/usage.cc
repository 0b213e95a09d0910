#include <berth/server/sessions/usage.h>

#include <berth/core/json_writer.h>
#include <berth/server/sessions/json_members.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace berth::server {

namespace {

constexpr double kBillion = 1e9;
constexpr double kAmountMax = 1e9;  // more than any turn costs; keeps sums far from overflow
constexpr std::int64_t kTokensMax = std::int64_t{1} << 48;
constexpr std::size_t kCurrencyMax = 8;

struct Money {
  std::string currency;
  std::int64_t billionths = 0;
};

std::optional<Money> money_in(const JsonView& cost) {
  const std::optional<double> amount = number_in(cost.find("amount"));
  if (!amount.has_value() || !(*amount >= 0) || *amount > kAmountMax) return std::nullopt;
  const std::string_view currency = cost.get_string("currency").value_or("USD");
  if (currency.empty() || currency.size() > kCurrencyMax) return std::nullopt;
  return Money{std::string(currency), std::llround(*amount * kBillion)};
}

void write_money(JsonWriter& writer, std::string_view currency, std::int64_t billionths) {
  writer.begin_object()
      .key("amount")
      .number(static_cast<double>(billionths) / kBillion)
      .member("currency", currency)
      .end_object();
}

void write_monies(JsonWriter& writer, const std::map<std::string, std::int64_t>& monies) {
  writer.begin_array();
  for (const auto& [currency, billionths] : monies) write_money(writer, currency, billionths);
  writer.end_array();
}

std::int64_t tokens_in(const JsonView& usage, std::string_view name) {
  return std::clamp<std::int64_t>(usage.get_int64(name).value_or(0), 0, kTokensMax);
}

void write_sums(JsonWriter& writer, const Usage& usage) {
  writer.member_int64("turns", usage.turns);
  for (std::size_t i = 0; i < Usage::kTokens.size(); ++i) {
    writer.member_int64(Usage::kTokens[i], usage.tokens[i]);
  }
  writer.key("cost");
  write_monies(writer, usage.cost);
}

}  // namespace

void Usage::add(const Usage& other) {
  turns += other.turns;
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] += other.tokens[i];
  for (const auto& [currency, amount] : other.cost) cost[currency] += amount;
}

std::string Usage::json() const {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  write_sums(writer, *this);
  writer.end_object();
  return out;
}

UsageMeter::UsageMeter(std::string_view stored) {
  const Result<JsonDoc> doc = JsonDoc::parse(stored.empty() ? std::string_view("{}") : stored);
  if (!doc.has_value()) return;
  const JsonView root = doc->root();
  sums_.turns = root.get_int64("turns").value_or(0);
  for (std::size_t i = 0; i < Usage::kTokens.size(); ++i) {
    sums_.tokens[i] = root.get_int64(Usage::kTokens[i]).value_or(0);
  }
  for (const JsonView& cost : root.elements("cost")) {
    if (const auto money = money_in(cost)) sums_.cost[money->currency] = money->billionths;
  }
  for (const JsonView& cost : root.elements("seen")) {
    if (const auto money = money_in(cost)) seen_[money->currency] = money->billionths;
  }
  context_used_ = root.get_int64("context.used").value_or(-1);
  context_size_ = root.get_int64("context.size").value_or(0);
  reports_cost_ = root.get_bool("reports_cost").value_or(false);
}

bool UsageMeter::note_update(const JsonView& update, bool in_turn) {
  if (const auto used = update.get_int64("used")) {
    context_used_ = std::clamp<std::int64_t>(*used, 0, kTokensMax);
    context_size_ = tokens_in(update, "size");
  }
  const std::optional<Money> total = money_in(update.find("cost"));
  if (!total.has_value()) return !in_turn;
  std::int64_t& seen = seen_[total->currency];
  // Less than before: the agent began to count anew.
  const std::int64_t more =
      total->billionths >= seen ? total->billionths - seen : total->billionths;
  seen = total->billionths;
  if (in_turn) {
    pending_[total->currency] += more;
    return false;
  }
  if (!reports_cost_) sums_.cost[total->currency] += more;
  return true;
}

std::string UsageMeter::end_turn(std::string_view reported) {
  const Result<JsonDoc> doc = JsonDoc::parse(reported.empty() ? std::string_view("{}") : reported);
  const JsonView root = doc.has_value() ? doc->root() : JsonView();
  Usage turn;
  turn.turns = 1;
  for (std::size_t i = 0; i < Usage::kTokens.size(); ++i) {
    turn.tokens[i] = tokens_in(root, Usage::kTokens[i]);
  }
  turn.cost = std::exchange(pending_, {});
  if (const auto money = money_in(root.find("cost"))) {
    reports_cost_ = true;
    turn.cost = {{money->currency, money->billionths}};
  } else if (reports_cost_) {
    turn.cost.clear();
  }
  sums_.add(turn);
  const auto members = root.members();
  if (members.empty() && turn.cost.empty() && context_used_ < 0) return {};
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  for (const auto& member : members) {
    if (member.first == "cost" || member.first == "context") continue;
    writer.member_raw(member.first, member.second.raw());
  }
  if (!turn.cost.empty()) {
    writer.key("cost");
    write_money(writer, turn.cost.begin()->first, turn.cost.begin()->second);
  }
  if (context_used_ >= 0) writer.member_raw("context", context_json());
  writer.end_object();
  return out;
}

std::string UsageMeter::context_json() const {
  std::string out;
  if (context_used_ < 0) return out;
  JsonWriter(out)
      .begin_object()
      .member_int64("used", context_used_)
      .member_int64("size", context_size_)
      .end_object();
  return out;
}

std::string UsageMeter::stored() const {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  write_sums(writer, sums_);
  writer.key("seen");
  write_monies(writer, seen_);
  if (context_used_ >= 0) writer.member_raw("context", context_json());
  writer.member_bool("reports_cost", reports_cost_).end_object();
  return out;
}

}  // namespace berth::server
