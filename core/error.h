// core/error.h — what went wrong, told by what the caller should do about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace berth::inline v0 {

/// The caller's next step, not the cause: it drives retries and the HTTP status.
enum class ErrorKind : std::uint8_t {
  invalid,     ///< The request itself is wrong; the message names the field or limit. Do not retry.
  not_found,   ///< The thing does not exist (or is not the caller's to see).
  conflict,    ///< It exists with another content or state; read it, then decide.
  busy,        ///< Something else runs in its place now; wait for it.
  overloaded,  ///< A named limit is reached; retry later.
  unavailable,  ///< The other side went away; retry may help.
  timed_out,    ///< The deadline passed; the outcome may be unknown.
  cancelled,    ///< The caller asked for it to end.
  unsupported,  ///< This machine, agent or build cannot do it.
  denied,       ///< Not allowed for this caller.
  internal,     ///< Our fault, or an errno that nobody expected.
};

std::string_view to_string(ErrorKind kind);

/// An expected failure. Cheap to move; never on a hot path.
struct Error {
  ErrorKind kind = ErrorKind::internal;
  /// A stable slug such as "session_conflict"; a literal, never freed. Clients match on it.
  const char* code = "internal";
  /// Text for people; names the field, limit or path. Never holds a secret.
  std::string message;
  /// errno of the system call behind it, 0 if there was none.
  int errno_value = 0;

  /// The same error with `what` put in front of its message.
  Error with_context(std::string_view what) &&;
};

/// Builds an error; `code` must be a string literal.
Error make_error(ErrorKind kind, const char* code, std::string message);

/// Builds an error from errno, with its kind chosen by value; `what` names the call and its object.
Error errno_error(int errno_value, std::string_view what);

}  // namespace berth::inline v0
