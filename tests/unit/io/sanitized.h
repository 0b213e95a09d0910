// tests/unit/io/sanitized.h — whether memory is the sanitizer's, which keeps what is freed: RSS
// says nothing then, and all takes longer.
#pragma once

namespace berth::inline v0::io {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BERTH_SANITIZED 1
#endif
#endif
#ifdef BERTH_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace berth::inline v0::io
