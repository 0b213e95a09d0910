// server/api/contract.h — what the HTTP API promises, as OpenAPI 3.1.
#pragma once

#include <string_view>

namespace berth::server {

/// The document that `GET /openapi.json` answers and `berth openapi` prints; written in
/// server/api/contract, joined by the build.
extern const std::string_view kContract;

}  // namespace berth::server
