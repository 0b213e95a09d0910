// Every string gives valid JSON on one line; valid UTF-8 is read back as it was.
#include <berth/core/json_writer.h>
#include <simdjson.h>

#include <string>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using simdjson::SUCCESS;
  const std::string_view text = berth::fuzz::Input(data, size).rest();
  std::string out;
  berth::JsonWriter json(out);
  json.begin_array().string(text).int64(static_cast<std::int64_t>(size));
  json.begin_object().member(text, text).end_object().end_array();
  FUZZ_CHECK(json.complete());
  FUZZ_CHECK(out.find_first_of("\r\n") == std::string::npos);
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  FUZZ_CHECK(parser.parse(out).get(root) == SUCCESS);
  std::string_view read;
  FUZZ_CHECK(root.at(0).get(read) == SUCCESS);
  if (simdjson::validate_utf8(text.data(), text.size())) {
    FUZZ_CHECK(read == text);
  } else {
    FUZZ_CHECK(read.find("\xEF\xBF\xBD") != std::string_view::npos);
  }
  return 0;
}
