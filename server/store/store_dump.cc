#include <berth/server/store/store_dump.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/store/sqlite_rows.h>
#include <berth/server/store/sqlite_schema.h>

#include <fmt/format.h>
#include <simdjson.h>
#include <concepts>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

namespace berth::server {

namespace {

/// Of this form of lines.
constexpr std::int64_t kDumpVersion = 1;
/// A commit of an import holds about so much.
constexpr std::size_t kImportBatchBytes = std::size_t{1} << 20;
/// Whose outcome is unknown is repeated so often.
constexpr int kTriesMax = 20;

/// A record that stands in a table. (Others tell what to do with one.)
template <typename T>
concept IsRow = requires { detail::Columns<T>::kTable; };

// --- out ---

void put_text(JsonWriter& writer, std::string_view name, std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) {
    writer.member(name, text);
    return;
  }
  std::string hex;
  for (const char byte : text) fmt::format_to(std::back_inserter(hex), "{:02x}", byte & 0xff);
  writer.key(name).begin_object().member("hex", hex).end_object();
}

class Exporter final : public StoreVisitor {
 public:
  explicit Exporter(DumpSink& sink) : sink_(sink) {}

  Result<void> begin() {
    JsonWriter writer(line_);
    writer.begin_object()
        .member_int64("berth_store", kDumpVersion)
        .member_int64("schema", kSchemaVersion)
        .end_object();
    return send();
  }
  Result<void> on_record(const Record& record) override {
    ++counts_.rows;
    if (std::holds_alternative<SessionRow>(record)) ++counts_.sessions;
    std::visit(
        [this](const auto& row) {
          if constexpr (IsRow<std::remove_cvref_t<decltype(row)>>) write(row);
        },
        record);
    return send();
  }
  Result<void> on_run(const EventRun& run) override {
    counts_.events += run.count;
    JsonWriter writer(line_);
    writer.begin_object().member("table", "events").key("row").begin_object();
    writer.member_int64("session", run.session)
        .member_uint64("first_seq", run.first_seq)
        .member_uint64("count", run.count);
    put_text(writer, "frames", run.frames);
    writer.end_object().end_object();
    return send();
  }
  Result<DumpCounts> end() {
    JsonWriter(line_).begin_object().member_uint64("end", counts_.lines).end_object();
    Result<void> sent = send();
    if (!sent) return fail(std::move(sent.error()));
    return counts_;
  }

 private:
  template <typename Row>
  void write(const Row& row) {
    JsonWriter writer(line_);
    writer.begin_object().member("table", detail::Columns<Row>::kTable).key("row").begin_object();
    detail::Columns<Row>::each(row, [&writer](const char* name, const auto& field) {
      if constexpr (std::same_as<std::remove_cvref_t<decltype(field)>, std::string>) {
        put_text(writer, name, field);
      } else {
        writer.member_int64(name, static_cast<std::int64_t>(field));
      }
    });
    writer.end_object().end_object();
  }
  Result<void> send() {
    Result<void> sent = sink_.on_line(line_);
    ++counts_.lines;
    line_.clear();
    return sent;
  }

  DumpSink& sink_;
  DumpCounts counts_;
  std::string line_;
};

// --- in ---

Error bad_line(std::uint64_t number, std::string_view what) {
  return make_error(ErrorKind::invalid, "bad_export",
                    fmt::format("line {} of the export: {}", number, what));
}

bool from_hex(std::string_view digits, std::string& text) {
  const auto value = [](char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
  };
  if (digits.size() % 2 != 0) return false;
  text.clear();
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const int high = value(digits[i]);
    const int low = value(digits[i + 1]);
    if (high < 0 || low < 0) return false;
    text += static_cast<char>(high * 16 + low);
  }
  return true;
}

bool get_text(const JsonView& value, std::string& text) {
  if (const auto hex = value.get_string("hex")) return from_hex(*hex, text);
  const auto plain = value.as_string();
  if (plain) text = *plain;
  return plain.has_value();
}

/// Fills in a row's columns; the name of the first that is not as it should be, or nothing. A
/// column that an older berth did not have keeps its default.
template <typename Row>
std::string get_row(const JsonView& json, Row& row) {
  std::string wrong;
  std::size_t found = 0;
  detail::Columns<Row>::each(row, [&](const char* name, auto& field) {
    const JsonView value = json.find(name);
    if (!value.present()) return;
    ++found;
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::same_as<Field, std::string>) {
      if (!get_text(value, field)) wrong = name;
    } else {
      const auto number = value.as_int64();
      if (!number) wrong = name;
      field = static_cast<Field>(number.value_or(0));
    }
  });
  if (wrong.empty() && found != json.members().size()) wrong = "a column that this berth lacks";
  return wrong;
}

bool get_run(const JsonView& json, EventRun& run) {
  const auto session = json.get_int64("session");
  const auto first = json.get_int64("first_seq");
  const auto count = json.get_int64("count");
  if (!session || !first || *first < 1 || !count || *count < 1 || *count > UINT32_MAX) return false;
  run.session = *session;
  run.first_seq = static_cast<std::uint64_t>(*first);
  run.count = static_cast<std::uint32_t>(*count);
  std::string frames;
  if (!get_text(json.find("frames"), frames)) return false;
  run.frames = std::string_view(frames);
  return true;
}

/// Reads the row of `table` into `record`; what is wrong, or nothing. Tries the kinds of records in
/// their order.
template <std::size_t kKind = 0>
std::string get_record(std::string_view table, const JsonView& json, Record& record) {
  if constexpr (kKind == std::variant_size_v<Record>) {
    return "an unknown table";
  } else {
    using Row = std::variant_alternative_t<kKind, Record>;
    if constexpr (IsRow<Row>) {
      if (table == detail::Columns<Row>::kTable) return get_row(json, record.emplace<Row>());
    }
    return get_record<kKind + 1>(table, json, record);
  }
}

}  // namespace

Result<DumpCounts> export_store(Store& store, DumpSink& sink) {
  Exporter exporter(sink);
  Result<void> done = exporter.begin();
  if (done) done = store.visit(exporter);
  if (!done) return fail(std::move(done.error()));
  return exporter.end();
}

Result<void> StoreImport::line(std::string_view line) {
  if (ended_) return fail(bad_line(counts_.lines + 1, "there is something behind the end"));
  Result<void> done = counts_.lines == 0 ? begin(line) : take(line);
  if (done && !ended_) ++counts_.lines;
  return done;
}

Result<void> StoreImport::begin(std::string_view line) {
  Result<SessionNo> last = store_.last_session_no();
  if (!last) return fail(std::move(last.error()));
  if (*last != 0) {
    return fail(ErrorKind::conflict, "store_not_empty", "the store has sessions already");
  }
  Result<JsonDoc> json = JsonDoc::parse(line);
  const auto version = json ? json->root().get_int64("berth_store") : std::nullopt;
  const auto schema = json ? json->root().get_int64("schema") : std::nullopt;
  if (!version || !schema) return fail(bad_line(1, "this is not the export of a store"));
  if (*version > kDumpVersion || *schema > kSchemaVersion) {
    return fail(ErrorKind::unsupported, "export_too_new",
                fmt::format("the export is of schema {}, this berth knows up to {}: import it with "
                            "the berth that wrote it, or a later one",
                            *schema, kSchemaVersion));
  }
  return {};
}

Result<void> StoreImport::take(std::string_view line) {
  const std::uint64_t number = counts_.lines + 1;
  Result<JsonDoc> json = JsonDoc::parse(line);
  if (!json) return fail(bad_line(number, json.error().message));
  const JsonView root = json->root();
  if (const auto lines = root.get_int64("end")) {
    if (static_cast<std::uint64_t>(*lines) != counts_.lines) {
      return fail(bad_line(number, "lines are missing before it"));
    }
    ended_ = true;
    return flush();
  }
  const std::string_view table = root.get_string("table").value_or("");
  if (table == "events") {
    auto run = std::make_shared<EventRun>();
    if (!get_run(root.find("row"), *run)) return fail(bad_line(number, "no events"));
    if (run->session == run_of_) {
      if (Result<void> done = flush(); !done) return done;
    }
    run_of_ = run->session;
    counts_.events += run->count;
    batch_.runs.push_back(std::move(run));
  } else {
    Record record;
    const std::string wrong = get_record(table, root.find("row"), record);
    if (!wrong.empty()) return fail(bad_line(number, wrong));
    ++counts_.rows;
    if (std::holds_alternative<SessionRow>(record)) ++counts_.sessions;
    batch_.records.push_back(std::move(record));
  }
  batch_bytes_ += line.size();
  return batch_bytes_ < kImportBatchBytes ? Result<void>() : flush();
}

Result<void> StoreImport::flush() {
  run_of_ = 0;
  batch_bytes_ = 0;
  const CommitBatch batch = std::exchange(batch_, {});
  if (batch.empty()) return {};
  CommitAnswer answer;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    answer = store_.commit(batch, epoch_);
    if (answer.outcome == CommitOutcome::committed) return {};
    if (answer.outcome == CommitOutcome::stale_epoch) break;
  }
  return fail(std::move(answer.error));
}

Result<DumpCounts> StoreImport::finish() {
  if (!ended_) {
    return fail(ErrorKind::invalid, "export_truncated",
                fmt::format("the export ends after line {}, before its end", counts_.lines));
  }
  return counts_;
}

}  // namespace berth::server
