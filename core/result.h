// core/result.h — a value, or the error that says what to do about its absence.
#pragma once

#include <berth/core/error.h>

#include <tl/expected.hpp>
#include <utility>

namespace berth::inline v0 {

/// What an operation gives: its value, or the Error in its place. Ask has_value() before `*`.
template <typename T>
using Result = tl::expected<T, Error>;

/// `return fail(ErrorKind::invalid, "bad_id", "session id is empty");`
inline tl::unexpected<Error> fail(ErrorKind kind, const char* code, std::string message) {
  return tl::unexpected<Error>(make_error(kind, code, std::move(message)));
}
inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace berth::inline v0
