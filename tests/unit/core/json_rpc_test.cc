#include <berth/core/json_rpc.h>
#include <berth/core/json_scan.h>

#include <gtest/gtest.h>

namespace berth {
namespace {

/// What the scanner, which is the other half, makes of a line.
ScanResult scan(JsonScanner& scanner, std::string& line) {
  line.reserve(line.size() + kLinePadding);
  return scanner.scan_line(line);
}

TEST(JsonRpc, WritesEachKindAsTheScannerReadsIt) {
  JsonScanner scanner;
  std::string line = rpc_request(7, "session/prompt", R"({"a":1})");
  EXPECT_EQ(line, R"({"jsonrpc":"2.0","id":7,"method":"session/prompt","params":{"a":1}})");
  ScanResult scanned = scan(scanner, line);
  ASSERT_TRUE(scanned.has_value());
  EXPECT_EQ(scanned->kind, MessageKind::request);
  EXPECT_EQ(scanned->id.integer, 7);

  line = rpc_notification("session/cancel", "{}");
  EXPECT_EQ(line, R"({"jsonrpc":"2.0","method":"session/cancel","params":{}})");
  scanned = scan(scanner, line);
  ASSERT_TRUE(scanned.has_value());
  EXPECT_EQ(scanned->kind, MessageKind::notification);

  line = rpc_result(R"("of mine")", "null");
  EXPECT_EQ(line, R"({"jsonrpc":"2.0","id":"of mine","result":null})");
  scanned = scan(scanner, line);
  ASSERT_TRUE(scanned.has_value());
  EXPECT_EQ(scanned->kind, MessageKind::response);

  line = rpc_error("null", kRpcParseError, "say \"no\"\n");
  EXPECT_EQ(line,
            R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"say \"no\"\n"}})");
  line = rpc_error("3", kRpcInvalidParams, "no", R"({"x":[]})");
  EXPECT_EQ(line,
            R"({"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"no","data":{"x":[]}}})");
  scanned = scan(scanner, line);
  ASSERT_TRUE(scanned.has_value());
  EXPECT_EQ(scanned->kind, MessageKind::error_response);
}

}  // namespace
}  // namespace berth
