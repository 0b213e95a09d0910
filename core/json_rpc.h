// core/json_rpc.h — messages of JSON-RPC 2.0 as they are written; json_scan.h reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::inline v0 {

/// Error codes of https://www.jsonrpc.org/specification, section 5.1.
inline constexpr int kRpcParseError = -32700;
inline constexpr int kRpcInvalidRequest = -32600;
inline constexpr int kRpcMethodNotFound = -32601;
inline constexpr int kRpcInvalidParams = -32602;
inline constexpr int kRpcInternalError = -32603;

/// Each is one line without its end. `params`, `result`, `data` and `raw_id` are JSON, taken as
/// they are: exactly one valid value without CR and LF.
std::string rpc_request(std::int64_t id, std::string_view method, std::string_view params);
std::string rpc_notification(std::string_view method, std::string_view params);
std::string rpc_result(std::string_view raw_id, std::string_view result);
/// No `data` when it is empty.
std::string rpc_error(std::string_view raw_id, int code, std::string_view message,
                      std::string_view data = {});

}  // namespace berth::inline v0
